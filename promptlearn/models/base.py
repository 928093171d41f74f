"""The Model protocol: messages in, one reply out.

Knows nothing about prompts, examples or judges. To bring a model of your own, write a class with these members:

    class Echo:
        name = "echo"                 # what reports call it
        identity = "echo/1"           # what the journal files its replies under
        sampling = Sampling()         # used where a caller gives none
        price = Price(0, 0)           # or None where nobody knows
        in_process = True             # may be left out: no endpoint, so no limits on calling it

        async def complete(self, messages, sampling=None, schema=None, repeat=0):
            return Reply(text=messages[-1].content)

        async def close(self):
            pass

and pass it wherever a model is expected. Raise `ModelError(kind, message)` for a call that failed; never return an
excuse as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from promptlearn.records import Json, Message, Usage


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn; part of a call's identity."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Further keys of the request body, passed through as they are."""


@dataclass(frozen=True, slots=True)
class Reply:
    text: str
    finish_reason: str = "stop"
    """`stop`, `length`, `content_filter`, … as the endpoint says."""
    usage: Usage = Usage(calls=1)
    logprobs: Json = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    cached: float | None = None
    """For input tokens that the provider's prompt cache answered; None: like other input."""
    written: float | None = None
    """For input tokens that the provider put into its prompt cache; None: like other input."""
    beyond: tuple[int, Price] | None = None
    """(Input tokens, price of a call that reads more than these)."""

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0, written_tokens: int = 0) -> float:
        """US dollars. Cached and written tokens are parts of `input_tokens`."""
        if self.beyond is not None and input_tokens > self.beyond[0]:
            return self.beyond[1].cost(input_tokens, output_tokens, cached_tokens, written_tokens)
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.written is None else self.written
        fresh = input_tokens - cached_tokens - written_tokens
        read = fresh * self.input + cached_tokens * cached + written_tokens * written
        return (read + output_tokens * self.output) / 1_000_000

    def bound(self, input_tokens: int, output_tokens: int) -> float:
        """The most that a call of so many tokens costs, whatever becomes of the provider's cache. US dollars."""
        return max(self.cost(input_tokens, output_tokens, 0, written) for written in (0, input_tokens))


FREE = Price(0.0, 0.0)


@runtime_checkable
class Model(Protocol):
    """Anything that completes a chat."""

    @property
    def name(self) -> str:
        """`provider/name`, for people."""

    @property
    def identity(self) -> str:
        """What makes two models the same for the journal: name and endpoint, or the weights' digest."""

    @property
    def sampling(self) -> Sampling:
        """The sampling that this model was configured with."""

    @property
    def price(self) -> Price | None:
        """What its tokens cost; None where nobody knows, which is not the same as nothing."""

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """One completion.

        `sampling` defaults to the model's own; `schema` is a JSON schema that the reply must follow (an endpoint that
        can not do that raises `ModelError("bad_request", …)`); `repeat` tells apart calls that are otherwise equal.
        Raises `ModelError` or `SystemicError`; never returns an empty text.
        """

    async def close(self) -> None:
        """Give back sockets and servers; a closed model may not be called."""


class ModelBase:
    """The four properties of a model whose constructor knows them; a short cut, not part of the protocol."""

    def __init__(self, name: str, identity: str, sampling: Sampling, price: Price | None) -> None:
        self._name = name
        self._identity = identity
        self._sampling = sampling
        self._price = price

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def sampling(self) -> Sampling:
        return self._sampling

    @property
    def price(self) -> Price | None:
        return self._price
