"""`models`: who answers, who judges, who writes."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from promptlearn.config.section import Section, named, switched

JUDGE_TOKENS, META_TOKENS = 768, 2048
COMMAND = "command"
"""`models.task` where `program` answers."""


class PriceConfig(Section):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    """Tokens read."""
    output: float = Field(ge=0)
    """Tokens written."""
    cached: float | None = Field(None, ge=0)
    """Tokens read from the provider's prompt cache; by default as `input`."""


class BatchConfig(Section):
    """How calls become batches, for endpoints with OpenAI's files and batches."""

    size: int = Field(10_000, ge=1, le=50_000)
    """Requests that are sent without waiting for more."""
    send_delay_s: float = Field(15, gt=0)
    """What has been collected is sent when no call has come for so many seconds."""
    poll_s: float = Field(15, gt=0)
    """Seconds between the first two looks at a batch; later ones are up to eight times as far apart."""
    window: str = "24h"
    """What the provider is asked to stay within; OpenAI takes 24h only."""
    discount: float = Field(0.5, ge=0, le=1)
    """What a batch costs, as a share of `price`."""


class ModelConfig(Section):
    model: str
    """`openai/NAME`, `PROVIDER/NAME` (through LiteLLM), `local/NAME`, `local/PATH.gguf`; any name with a `base_url`;
    or `scripted/PATH.yaml`, a fake that answers from a file: `rules: [{when: REGEX, reply: TEXT}]`, of which the first
    that is found in the chat answers, and `default: TEXT` for all other chats."""
    base_url: Annotated[str | None, AfterValidator(lambda url: _without_credentials(url))] = None
    """Root of an endpoint that speaks chat completions, such as http://127.0.0.1:8000/v1; one that speaks a provider's
    own protocol where the model is `litellm/PROVIDER/NAME`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; keys themselves never stand here."""
    max_tokens: int | None = Field(None, gt=0)
    """Of one reply; by default 512 (task), 768 (judge), 2048 (meta)."""
    temperature: float | None = Field(None, ge=0)
    """By default 0, and 0.7 for meta."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Nucleus sampling; left to the endpoint by default."""
    seed: int | None = None
    """Sent to endpoints that take one."""
    timeout: float = Field(120, gt=0)
    """Seconds for one call."""
    context: int = Field(4096, gt=0)
    """Tokens per slot of a local model."""
    adapter: str | None = None
    """LoRA adapter of a local model, a GGUF file that `promptlearn tune export` wrote."""
    price: PriceConfig | None = None
    """By default what LiteLLM's table says, for OpenAI's own endpoint and LiteLLM's providers, if LiteLLM is installed.
    Otherwise the cost is unknown, not zero, and `budget.usd` needs it. Local and scripted models are free without one;
    with one, their tokens cost what it says, so that a budget or an objective can be rehearsed."""
    rpm: float | None = Field(None, gt=0)
    """Calls per minute at most; how many are in flight is found out."""
    tpm: float | None = Field(None, gt=0)
    """Tokens per minute at most, input and output together."""
    hedge: float | None = Field(0.95, ge=0.5, lt=1)
    """Quantile of the model's latency after which a slow call is sent a second time, where budget and slots are to
    spare; null is never."""
    outage_minutes: float = Field(10, ge=0)
    """How long to wait for an endpoint that has answered before and is down now, or refuses calls (429)."""
    batch: Annotated[BatchConfig | None, BeforeValidator(lambda value: switched(value))] = None
    """Send calls to the provider's batch API: half the price, answered within a day. `true`, or an object."""


def _without_credentials(url: str | None) -> str | None:
    """Keys belong into the environment: a configuration is stored with its runs and printed (invariant 10)."""
    if url is not None:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query:
            raise ValueError("holds a user, a password or a query; name the key's environment variable in api_key_env")
    return url


NamedModel = Annotated[ModelConfig, BeforeValidator(lambda value: named(value, "model"))]


class ModelsConfig(Section):
    task: NamedModel
    """Answers the examples; `command` where `program` does, which may be left out."""
    judge: NamedModel | None = None
    """Judges the answers, for judges that are language models."""
    meta: NamedModel | None = None
    """Writes better prompts, for proposers that need a language model."""
