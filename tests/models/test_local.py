"""LocalModel with the real SmolLM2 file, which the product's own pull brings."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from promptlearn.errors import ConfigError, ModelError, SystemicError
from promptlearn.models import open_model
from promptlearn.models.base import FREE, Model, Price, Sampling
from promptlearn.models.hub import file_digest
from promptlearn.models.local import LocalModel, calls_at_once
from promptlearn.models.pull import WHEEL_MODELS, pull
from promptlearn.models.structured import Field, complete_fields
from promptlearn.records import Message

pytest.importorskip("xllamacpp")
NAME = "smollm2-135m-instruct"
DEMOS = [
    ("My parcel is three days late.", "delivery"),
    ("I was charged twice this month.", "billing"),
    ("How do I change my password?", "account"),
    ("The courier left it with a neighbour.", "delivery"),
    ("Please send me an invoice.", "billing"),
    ("I can not log in any more.", "account"),
]
SHORT = Sampling(max_tokens=8)


def chat(question: str) -> list[Message]:
    messages = [Message("system", "Classify the customer's message.")]
    for text, label in DEMOS:
        messages += [Message("user", text), Message("assistant", label)]
    return [*messages, Message("user", question)]


def test_it_is_free_unless_a_price_is_given(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF")
    assert open_model(f"local/{path}").price == FREE
    assert open_model(f"local/{path}", price=Price(1, 2)).price == Price(1, 2)


@pytest.fixture(scope="module")
def weights() -> Path:
    return pull(NAME)


def test_calls_at_once_follow_the_length_of_answers() -> None:
    assert calls_at_once(SHORT, 16) <= calls_at_once(Sampling(max_tokens=2048), 16)
    assert calls_at_once(Sampling(max_tokens=2048), 1) == 1
    assert calls_at_once(SHORT, 16) >= 1


def test_a_missing_package_names_the_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['xllamacpp'] = None\nfrom promptlearn.models import open_model\n"
    code += "from promptlearn.errors import ConfigError\n"
    code += f"try: open_model('local/{tmp_path}/a.gguf')\nexcept ConfigError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "promptlearn-optimizer[local]" in done.stdout


async def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    model = LocalModel("local/broken.gguf", path)
    with pytest.raises(SystemicError, match="whole GGUF file"):
        await model.complete([Message("user", "hello")])
    await model.close()


@pytest.mark.slow
def test_the_pulled_file_is_the_pinned_one(weights: Path) -> None:
    assert file_digest(weights) == WHEEL_MODELS[NAME].sha256


@pytest.mark.slow
async def test_it_follows_demonstrations_and_remembers_their_prefix(weights: Path) -> None:
    model = open_model(f"local/{NAME}", sampling=SHORT, slots=1)
    assert isinstance(model, Model)
    questions = ["Where is my package?", "Why was my card charged again?", "The courier never came."]
    replies = await asyncio.gather(*(model.complete(chat(question)) for question in questions * 2))
    await model.close()
    assert [reply.text.strip() for reply in replies[:2]] == ["delivery", "billing"]
    assert [reply.text for reply in replies[:3]] == [reply.text for reply in replies[3:]]
    assert replies[0].usage.cost_usd == 0.0
    assert model.identity == f"local/{WHEEL_MODELS[NAME].sha256[:16]}"
    read_anew = sum(reply.usage.input_tokens - reply.usage.cached_tokens for reply in replies)
    assert read_anew < 3 * replies[0].usage.input_tokens, "a shared prefix is not read again for every call"


@pytest.mark.slow
async def test_roles_share_a_server_and_a_schema_is_kept(weights: Path) -> None:
    task = open_model(f"local/{weights}", sampling=SHORT)
    judge = open_model(f"local/{weights}", sampling=Sampling(max_tokens=80))
    assert task.identity == judge.identity
    await task.complete(chat("Where is my package?"))
    fields = [Field("explanation", ("it is right", "it is wrong")), Field("label", ("yes", "no"))]
    verdict = await complete_fields(judge, [Message("user", "Is `delivery` right for a lost parcel?")], fields)
    assert list(verdict.values) == ["explanation", "label"]
    assert verdict.values["label"] in ("yes", "no")
    await task.close()
    assert (await judge.complete([Message("user", "Say hello.")], SHORT)).text
    await judge.close()


@pytest.mark.slow
async def test_a_prompt_longer_than_the_context(weights: Path) -> None:
    model = LocalModel("local/small", weights, slots=1, context=256)
    with pytest.raises(ModelError) as caught:
        await model.complete([Message("user", "word " * 5000)])
    await model.close()
    assert caught.value.kind == "context_length"


PROGRAM = """
import asyncio, sys
from promptlearn.models import open_model
from promptlearn.models.base import Sampling
from promptlearn.records import Message

async def main(how):
    model = open_model("local/smollm2-135m-instruct", sampling=Sampling(max_tokens=4))
    print((await model.complete([Message("user", "Hi")])).text is not None)
    if how == "closed":
        await model.close()
    if how == "raises":
        raise SystemExit(3)
    if how == "busy":
        asyncio.ensure_future(model.complete([Message("user", "Tell a story")], Sampling(max_tokens=2000)))
        await asyncio.sleep(0.3)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("closed", 0), ("left open", 0), ("raises", 3), ("busy", 0)])
def test_the_process_ends_quietly(weights: Path, how: str, code: int) -> None:
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout == "True\n"
    if how == "closed":
        assert done.stderr == ""


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="promptlearn models pull"):
        LocalModel("local/x", tmp_path / "x.gguf")
