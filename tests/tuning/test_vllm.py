"""VllmSampler against a loopback server that speaks vLLM's protocol, with the tiny model behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from colours import colour_job, colour_tuning
from tiny_llama import rows, stir, tiny_policy
from toy_policy import ToyTokenizer

from promptlearn.config import SamplerConfig
from promptlearn.errors import ConfigError, ModelError, SystemicError, TuningError
from promptlearn.models.base import Sampling
from promptlearn.models.retries import RetryPolicy
from promptlearn.report import tuning
from promptlearn.store import open_store
from promptlearn.tuning.base import Backend, Loss, Sample, Sampler, TrainSample, greedy_sampling, training_sampling
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.local.sampler import LocalSampler
from promptlearn.tuning.run import train
from promptlearn.tuning.sampling import chosen_sampler
from promptlearn.tuning.vllm import VllmSampler

PROMPT = [5, 6, 7, 8]
QUICK = RetryPolicy(first=0.01, longest=0.02)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class VllmServer:
    """What vLLM does with these requests, on a model of two layers; `deaf` is the fault of loading nothing."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or tiny_policy()
        self.sampler = LocalSampler(self.policy)
        self.loaded: list[str] = []
        self.deaf = False
        self.answers: list[web.Response] = []
        self.faults: list[int | str | None] = []
        """What befalls the next requests: a status, `drop` and `hang` before they are heard, `lose` of their answer."""
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    @web.middleware
    async def faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return web.json_response({"error": "not now"}, status=fault)
        if fault == "hang":
            await asyncio.sleep(2.5)
        answer = await handler(request) if fault in (None, "lose") else web.Response()
        if fault is not None and request.transport is not None:
            request.transport.close()
        return answer

    async def models(self, request: web.Request) -> web.Response:
        named = [("tiny", None), *((name, "tiny") for name in self.loaded)]
        return web.json_response({"data": [{"id": name, "parent": parent} for name, parent in named]})

    async def completions(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if self.answers:
            return self.answers.pop(0)
        if body["model"] not in ["tiny", *self.loaded]:
            return web.json_response({"error": {"message": f"The model {body['model']} does not exist."}}, status=404)
        if "prompt_logprobs" in body:
            scored = self.policy.sequence_logprobs(body["prompt"], "published")
            pairs = zip(body["prompt"][1:], scored, strict=True)
            places: list[Any] = [None, *({str(token): {"logprob": value, "rank": 1}} for token, value in pairs)]
            return web.json_response({"choices": [{"prompt_logprobs": places}]})
        sampling = training_sampling(body["max_tokens"], body.get("seed"))
        if not body["temperature"]:
            sampling = greedy_sampling(body["max_tokens"])
        (drawn,) = [sample async for sample in self.sampler.sample(body["prompt"], 1, sampling)]
        choice = {
            "index": 0,
            "text": "",
            "token_ids": drawn.token_ids,
            "logprobs": {"token_logprobs": drawn.logprobs},
            "finish_reason": drawn.finish_reason,
        }
        return web.json_response({"choices": [choice]})

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["lora_name"] in self.loaded:
            said = f"The lora adapter '{body['lora_name']}' has already been loaded."
            return web.json_response({"error": {"message": said}}, status=400)
        if not self.deaf:
            await asyncio.to_thread(self.policy.publish, Path(body["lora_path"]))
        self.loaded.append(body["lora_name"])
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if name not in self.loaded:
            return web.json_response({"error": {"message": f"The lora adapter '{name}' cannot be found."}}, status=404)
        self.loaded.remove(name)
        return web.Response(text="Success")


@asynccontextmanager
async def serving(policy: Policy | None = None) -> AsyncIterator[VllmServer]:
    server = VllmServer(policy)
    app = web.Application(middlewares=[server.faulty])
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/completions", server.completions)
    app.router.add_post("/v1/load_lora_adapter", server.load)
    app.router.add_post("/v1/unload_lora_adapter", server.unload)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[VllmServer, VllmSampler]]:
    async with serving() as server:
        sampler = VllmSampler(server.url, "tiny", timeout=2.0, tolerance=1e-3, retries=QUICK)
        try:
            yield server, sampler
        finally:
            await sampler.close()


async def draw(sampler: Sampler, n: int = 4, tokens: int = 6) -> list[Sample]:
    return [sample async for sample in sampler.sample(PROMPT, n, training_sampling(tokens, 1))]


async def test_samples_have_tokens_and_the_log_probabilities_that_the_learner_computes(tmp_path: Path) -> None:
    learner_policy = tiny_policy()
    stir(learner_policy)
    learner = LocalLearner(learner_policy)
    async with opened() as (server, sampler):
        assert isinstance(sampler, Sampler)
        assert await sampler.publish(learner.save_adapter(tmp_path)) == 0
        samples = await draw(sampler)
        assert sorted(sample.index for sample in samples) == [0, 1, 2, 3]
        assert len({body["seed"] for body in server.bodies if "seed" in body}) == 4
        made = [TrainSample.of(PROMPT, each, task_key="a", group="a", reward=0.0) for each in samples]
        assert learner.forward_backward(made, Loss()).ratio_error < 1e-3


@pytest.mark.parametrize("sampling", [training_sampling(3, 1), greedy_sampling(3)], ids=["training", "greedy"])
async def test_nothing_that_shapes_the_distribution_is_left_to_the_server(sampling: Sampling) -> None:
    """vLLM takes what a request does not say from generation_config.json."""
    async with opened() as (server, sampler):
        async for _ in sampler.sample(PROMPT, 1, sampling):
            pass
        [body] = server.bodies
    assert [body[key] for key in ("top_p", "top_k", "min_p", "logit_bias")] == [1, 0, 0, {}]
    assert [body[f"{key}_penalty"] for key in ("repetition", "presence", "frequency")] == [1, 0, 0]
    assert body["temperature"] == sampling.temperature


async def test_each_version_has_its_own_name_and_the_one_before_is_unloaded(tmp_path: Path) -> None:
    policy = tiny_policy()
    learner = LocalLearner(policy)
    async with opened() as (server, sampler):
        await sampler.publish(learner.save_adapter(tmp_path / "0"))
        learner.forward_backward(rows([(4, [3, 3])]), Loss())
        learner.optim_step(_adam())
        assert await sampler.publish(learner.save_adapter(tmp_path / "1")) == 1
        first = list(server.loaded)
        await sampler.publish(learner.save_adapter(tmp_path / "2"))
        assert len(first) == len(server.loaded) == 1
        assert first != server.loaded
        assert {sample.policy_version for sample in await draw(sampler)} == {1}


async def test_the_canary_catches_a_server_that_loaded_nothing(tmp_path: Path) -> None:
    policy = tiny_policy()
    stir(policy)
    adapter = LocalLearner(policy).save_adapter(tmp_path)
    async with opened() as (server, sampler):
        server.deaf = True
        with pytest.raises(TuningError, match="did not reach the sampler"):
            await sampler.publish(adapter)
        assert server.loaded == []
        assert {sample.policy_version for sample in await draw(sampler)} == {0}


async def test_a_sampler_that_is_closed_leaves_no_adapter_behind(tmp_path: Path) -> None:
    adapter = LocalLearner(tiny_policy()).save_adapter(tmp_path)
    async with opened() as (server, sampler):
        await sampler.publish(adapter)
        await sampler.close()
        assert server.loaded == []
        await sampler.publish(adapter)
        server.faults = [401]  # nor does a server that refuses turn the end of a run into an error
        await sampler.close()
        assert len(server.loaded) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (web.json_response({"choices": []}), "malformed"),
        (web.json_response({"choices": [{"text": "hi", "finish_reason": "stop"}]}), "malformed"),
    ],
    ids=["no choice", "no token ids"],
)
async def test_an_answer_that_says_too_little_is_an_error(answer: web.Response, kind: str) -> None:
    async with opened() as (server, sampler):
        server.answers = [answer]
        with pytest.raises(ModelError) as caught:
            await draw(sampler, n=1)
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("fault", "kind", "asked"),
    [(401, "auth", 1), (503, "server", 6), (429, "rate_limit", 6), ("drop", "connection", 6)],
)
async def test_what_goes_wrong_for_good_has_a_name(fault: int | str, kind: str, asked: int) -> None:
    async with opened() as (server, sampler):
        server.faults = [fault] * 9
        with pytest.raises(ModelError) as caught:
            await draw(sampler, n=1)
        assert (caught.value.kind, len(server.faults)) == (kind, 9 - asked)


@pytest.mark.parametrize("fault", [503, 429, "drop", "lose", "hang"])
async def test_what_passes_is_asked_again_and_answered_as_if_nothing_had_been(fault: int | str) -> None:
    async with opened() as (server, sampler):
        expected = await draw(sampler, n=1)
        server.faults = [fault]
        assert await draw(sampler, n=1) == expected
        assert server.faults == []


async def test_an_adapter_is_published_once_whatever_happens_to_answers(tmp_path: Path) -> None:
    """Neither loading nor unloading can be done twice, and the answer to either may be lost after it was done."""
    policy = tiny_policy()
    learner = LocalLearner(policy)
    async with opened() as (server, sampler):
        await sampler.publish(learner.save_adapter(tmp_path / "0"))
        learner.forward_backward(rows([(4, [3, 3])]), Loss())
        learner.optim_step(_adam())
        server.faults = ["lose", None, None, "lose"]  # of loading and unloading; between them it is loaded and scored
        assert await sampler.publish(learner.save_adapter(tmp_path / "1")) == 1
        assert (server.faults, len(server.loaded)) == ([], 1)
        assert {sample.policy_version for sample in await draw(sampler)} == {1}


async def test_a_server_that_is_not_there_and_a_model_that_it_has_not() -> None:
    async with opened() as (server, sampler):
        stranger = VllmSampler(server.url, "other")
        with pytest.raises(SystemicError, match="no model 'other'"):
            await draw(stranger, n=2)
        await stranger.close()
        with pytest.raises(ConfigError, match="temperature"):
            await anext(sampler.sample(PROMPT, 1, Sampling(temperature=0.5)))
    nobody = VllmSampler("http://127.0.0.1:9", "tiny", retries=QUICK)
    with pytest.raises(SystemicError, match="can not be reached"):
        await draw(nobody, n=1)
    await nobody.close()


def local_backend(seed: int = 0) -> Backend:
    policy = tiny_policy(seed)
    return Backend(ToyTokenizer(), LocalSampler(policy), LocalLearner(policy))


@pytest.mark.parametrize("engine", ["auto", "vllm"])
async def test_a_server_with_the_same_weights_is_chosen(tmp_path: Path, engine: str) -> None:
    backend = local_backend()
    async with serving() as server:
        settings = SamplerConfig.model_validate({"engine": engine, "url": server.url})
        async with chosen_sampler(settings, backend, "local/other-name", tmp_path) as choice:
            assert isinstance(choice.backend.sampler, VllmSampler)
            assert (choice.backend.learner, choice.warning) == (backend.learner, "")
            assert "draws the samples" in choice.note
            assert len(await draw(choice.backend.sampler)) == 4
        async with chosen_sampler(SamplerConfig(engine="local", url=server.url), backend, "tiny", tmp_path) as choice:
            assert choice.backend is backend


async def test_a_server_that_lacks_something_is_left_alone_or_an_error(tmp_path: Path) -> None:
    """Another model, no adapters, no token ids, nobody: each is said, and named as an error where vllm is asked for."""

    async def attempt(url: str, backend: Backend, why: str, **more: Any) -> None:
        settings = SamplerConfig.model_validate({"url": url} | more)
        async with chosen_sampler(settings, backend, "tiny", tmp_path) as choice:
            assert choice.backend is backend
            assert why in choice.warning
        with pytest.raises((TuningError, ModelError, ConfigError), match=why):
            async with chosen_sampler(settings.model_copy(update={"engine": "vllm"}), backend, "tiny", tmp_path):
                pytest.fail("it was chosen")

    async with serving() as server:
        await attempt(server.url, local_backend(seed=1), "did not reach the sampler")
        await attempt(server.url, local_backend(), "has no model big: possible are tiny", model="big")
        said = {"choices": [{"text": "hi", "finish_reason": "stop"}]}
        server.answers = [web.json_response(said) for _ in range(2)]
        await attempt(server.url, local_backend(), "scored 0 tokens of the canary")
    await attempt("http://127.0.0.1:9", local_backend(), "can not be reached")


async def test_nobody_at_the_usual_place_is_not_worth_a_word(tmp_path: Path) -> None:
    backend = local_backend()
    settings = SamplerConfig.model_construct(set(), url="http://127.0.0.1:9")  # as if it were the default
    async with chosen_sampler(settings, backend, "tiny", tmp_path) as choice:
        assert (choice.backend, choice.warning, choice.note) == (backend, "", "")


async def test_a_run_of_the_configuration_draws_from_the_server_and_learns_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version after version: the ratio of learner and server stays at 1."""
    from tiny_torch import tiny_backend

    opened, there = tiny_backend(), tiny_backend().sampler
    monkeypatch.setattr("promptlearn.tuning.run.open_weights", lambda job, tuning: opened)
    assert isinstance(there, LocalSampler)
    async with serving(there._policy) as server:
        settings = colour_tuning(steps=4, learning_rate=0.01, sampler={"url": server.url})
        with open_store(tmp_path / "store.db") as store:
            result = await train(colour_job(store), settings)
            steps = tuning(store, result.run_id).steps
    updates = [step for step in steps if step.ratio_error is not None]
    assert updates
    assert max(step.ratio_error or 0 for step in updates) < 1e-3
    drawn = [body for body in server.bodies if "seed" in body]
    assert len(drawn) == 1 + 4 * 18
    assert len({body["model"] for body in drawn}) == len(updates) + (steps[-1].ratio_error is None)
    assert server.loaded == []


def _adam() -> Any:
    from promptlearn.tuning.base import Adam

    return Adam(learning_rate=0.05)
