"""A real model on the demo's data: SmolLM2-135M learns to answer with a label, by the judges' verdict alone.

The configuration is that of the experiment in docs/experiments.md, so that its curve is what to expect here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promptlearn.assembly import assemble, read_data
from promptlearn.config import Config, load_config
from promptlearn.models.pull import pull
from promptlearn.report import tuning
from promptlearn.tuning.run import train

pytest.importorskip("torch")

TABLE = Path(__file__).parents[2] / "examples/support_triage/tickets.csv"
STEPS = 7


def triage(folder: Path) -> Config:
    """The demo's data, and a prompt that names the labels and shows one example of each as chat turns."""
    config = {
        "prompt": "prompt.yaml",
        "data": {"file": str(TABLE), "inputs": ["message"], "expected": "label", "group": "customer"},
        "models": {"task": {"model": "local/smollm2-135m-instruct", "max_tokens": 4}},
        "judges": ["label_set"],
        "budget": {"task_calls": 2000},
        "tuning": {
            "device": "cpu",
            "steps": STEPS,
            "learning_rate": 3e-4,
            "validate_every": STEPS,
            "validation_rows": 2,
        },
    }
    (folder / "prompt.yaml").write_text("messages: []\n", encoding="utf-8")
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    loaded = load_config(folder / "promptlearn.yaml")
    first: dict[str, str] = {}
    for example in read_data(loaded.data).train:
        first.setdefault(str(example.expected), str(example.inputs["message"]))
    said = f"You help our shop with customer mail. Answer with one word: {', '.join(sorted(first))}."
    messages = [{"role": "system", "content": said}]
    for label, message in sorted(first.items()):
        messages += [{"role": "user", "content": f'"{message}"'}, {"role": "assistant", "content": label}]
    messages.append({"role": "user", "content": '"{message}"'})
    (folder / "prompt.yaml").write_text(yaml.safe_dump({"messages": messages}), encoding="utf-8")
    return loaded


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
async def test_reward_rises_on_the_demo_s_data(tmp_path: Path) -> None:
    pull("smollm2-135m-instruct")
    config = triage(tmp_path)
    job = assemble(config, tmp_path / "store.db")
    with job.store as store:
        result = await train(job, config.tuning)
        steps = tuning(store, result.run_id).steps
    rewards = [step.reward for step in steps if step.reward is not None]
    assert len(rewards) == STEPS
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1, rewards
    assert max(step.ratio_error for step in steps if step.ratio_error is not None) < 1e-2
    assert result.gguf is not None
    assert result.gguf.read_bytes()[:4] == b"GGUF"
