"""The real SmolLM2 through torch, and its adapter through llama.cpp."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_folder import write_tiny_model
from tiny_llama import stir

from promptlearn.errors import ConfigError
from promptlearn.models import open_model
from promptlearn.models.base import Sampling
from promptlearn.models.pull import pull
from promptlearn.records import Message
from promptlearn.tuning.base import Adam, Backend, Lora, Loss, Sample, TrainSample, training_sampling
from promptlearn.tuning.local import chosen_device, open_local
from promptlearn.tuning.local.export import export_gguf
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.loading import load_config
from promptlearn.tuning.trl_weights import TrlWeights

NAME = "local/smollm2-135m-instruct"
CHAT = [Message("user", "Name a fruit.")]


@pytest.fixture(scope="module")
def backend() -> Backend:
    pull("smollm2-135m-instruct")
    return open_local(NAME, Lora(rank=8, alpha=16), device="cpu")


def scored(backend: Backend, token_ids: tuple[int, ...], base: bool) -> list[float]:
    prompt = backend.tokenizer.prompt_ids(CHAT)
    sample = Sample(0, token_ids, (0.0,) * len(token_ids), "length", 0)
    row = TrainSample.of(prompt, sample, task_key="a", group="a", reward=0.0)
    return backend.learner.logprobs([row], base=base)[0][len(prompt) :]


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_sampler_and_learner_agree_on_the_real_model(backend: Backend, tmp_path: Path) -> None:
    learner, prompt = backend.learner, backend.tokenizer.prompt_ids(CHAT)
    await backend.sampler.publish(learner.save_adapter(tmp_path / "0"))
    drawn = [sample async for sample in backend.sampler.sample(prompt, 4, training_sampling(8, seed=1))]
    rows = [TrainSample.of(prompt, sample, task_key="a", group="a", reward=float(sample.index % 2)) for sample in drawn]
    report = learner.forward_backward(rows, Loss())
    assert report.ratio_error < 1e-3
    learner.optim_step(Adam())
    assert {sample.finish_reason for sample in drawn} <= {"stop", "length"}
    assert backend.tokenizer.text(prompt).rstrip().endswith("assistant")


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_llama_cpp_computes_the_adapter_as_torch_does(backend: Backend, tmp_path: Path) -> None:
    """Its base has 4 bits and torch's copy the same numbers, so what differs is how activations are rounded."""
    pytest.importorskip("xllamacpp")
    learner = backend.learner
    assert isinstance(learner, LocalLearner)
    stir(learner._policy, by=0.03)
    learner.save_adapter(tmp_path)
    file = export_gguf(tmp_path, load_config(NAME), tmp_path / "adapter.gguf")
    sampling = Sampling(max_tokens=6, extra={"logprobs": True, "top_logprobs": 1})
    base = open_model(NAME, sampling=sampling, slots=1)
    tuned = open_model(NAME, sampling=sampling, slots=1, adapter=file)
    assert tuned.identity.startswith(f"{base.identity}+")
    for model, off in ((base, True), (tuned, False)):
        reply = await model.complete(CHAT)
        said = [(entry["id"], entry["logprob"]) for entry in reply.logprobs["content"]]
        ids = tuple(token for token, _ in said)
        ours, other = scored(backend, ids, base=off), scored(backend, ids, base=not off)
        distance = math.dist(ours, [value for _, value in said]) / len(said)
        assert distance < 0.2, (off, said, ours)
        assert distance < math.dist(other, [value for _, value in said]) / len(said) / 3
        await model.close()


def test_an_adapter_that_is_not_there_and_one_for_a_remote_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only local"):
        open_model("openai/gpt-5-mini", adapter=tmp_path / "a.gguf")
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match="tune export"):
        open_model(f"local/{file}", adapter=tmp_path / "a.gguf")


def test_an_architecture_that_llama_cpp_names_otherwise(tmp_path: Path) -> None:
    from transformers import GPT2Config

    with pytest.raises(ConfigError, match="gpt2 adapters"):
        export_gguf(tmp_path, GPT2Config(), tmp_path / "a.gguf")


def test_a_device_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    missing = "mps" if torch.cuda.is_available() else "cuda"
    folder = write_tiny_model(tmp_path / "tiny")
    for opened in (open_local, TrlWeights.open):
        with pytest.raises(ConfigError, match=rf"tuning\.device: {missing} .* sees only .*cpu.*`device: auto`$"):
            opened(str(folder), device=missing)
    assert chosen_device("cpu") == "cpu"
    assert chosen_device() in {"cuda", "mps", "cpu"}


def test_without_the_extra_one_line_names_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['torch'] = None; sys.modules['peft'] = None\n"
    code += "from promptlearn.tuning.local import open_local; from promptlearn.errors import ConfigError\n"
    code += "import promptlearn.tuning.advantages, promptlearn.tuning.losses\n"
    code += "try: open_local('local/smollm2-135m-instruct')\nexcept ConfigError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "training needs torch, peft: pip install 'promptlearn-optimizer[rl]'"
