"""VllmSampler against a loopback server that speaks vLLM's protocol, with the tiny model behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tiny_llama import rows, stir, tiny_policy

from promptlearn.errors import ConfigError, ModelError, SystemicError, TuningError
from promptlearn.models.base import Sampling
from promptlearn.tuning.base import Loss, Sample, Sampler, TrainSample, training_sampling
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.sampler import LocalSampler
from promptlearn.tuning.vllm import VllmSampler

PROMPT = [5, 6, 7, 8]


class VllmServer:
    """What vLLM does with these requests, on a model of two layers; `deaf` is the fault of loading nothing."""

    def __init__(self) -> None:
        self.policy = tiny_policy()
        self.sampler = LocalSampler(self.policy)
        self.loaded: list[str] = []
        self.deaf = False
        self.answers: list[web.Response] = []
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

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
        sampling = training_sampling(body["max_tokens"], body["seed"])
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
        if not self.deaf:
            await asyncio.to_thread(self.policy.publish, Path(body["lora_path"]))
        self.loaded.append(body["lora_name"])
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        self.loaded.remove((await request.json())["lora_name"])
        return web.Response(text="Success")


@asynccontextmanager
async def serving() -> AsyncIterator[VllmServer]:
    server = VllmServer()
    app = web.Application()
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
        sampler = VllmSampler(server.url, "tiny", tolerance=1e-3)
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
        assert {sample.policy_version for sample in await draw(sampler)} == {0}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (web.json_response({"error": "no"}, status=401), "auth"),
        (web.json_response({"error": "busy"}, status=503), "server"),
        (web.json_response({"error": "slow down"}, status=429), "rate_limit"),
        (web.json_response({"choices": []}), "malformed"),
        (web.json_response({"choices": [{"text": "hi", "finish_reason": "stop"}]}), "malformed"),
    ],
    ids=["auth", "server", "rate_limit", "no choice", "no token ids"],
)
async def test_what_goes_wrong_has_a_name(answer: web.Response, kind: str) -> None:
    async with opened() as (server, sampler):
        server.answers = [answer]
        with pytest.raises(ModelError) as caught:
            await draw(sampler, n=1)
        assert caught.value.kind == kind


async def test_a_server_that_is_not_there_and_a_model_that_it_has_not() -> None:
    async with opened() as (server, sampler):
        stranger = VllmSampler(server.url, "other")
        with pytest.raises(SystemicError, match="no model 'other'"):
            await draw(stranger, n=2)
        await stranger.close()
        with pytest.raises(ConfigError, match="temperature"):
            await anext(sampler.sample(PROMPT, 1, Sampling(temperature=0.5)))
    nobody = VllmSampler("http://127.0.0.1:9", "tiny")
    with pytest.raises(ModelError, match="can not be reached"):
        await draw(nobody, n=1)
    await nobody.close()


def _adam() -> Any:
    from promptlearn.tuning.base import Adam

    return Adam(learning_rate=0.05)
