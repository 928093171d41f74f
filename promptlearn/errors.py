"""Every error that promptlearn raises, and the exit code each one ends a command with.

    PromptlearnError               1   something went wrong here
    ├── UsageError                 2   the user can fix it: configuration, data, prompt, arguments
    │   ├── ConfigError                a key of promptlearn.yaml
    │   ├── DataError                  a file, row or column of the examples
    │   ├── PromptError                a prompt file, its variables or its contract
    │   ├── AssetError                 a judge or a meta-prompt
    │   └── StoreError                 a store that this version can not open
    │       └── WriteError         1       what was to be kept can not be: a full disk, a lost database
    ├── ModelError                 1   a model call that failed for good (`kind` says how)
    │   └── SystemicError          1   the endpoint refuses everybody: wrong key, unknown model, unreachable
    ├── TuningError                1   training can not go on: a gradient that is no number, an adapter that got lost
    ├── ForgeError                 1   GitHub refuses, is out of reach, or wants to be left alone (`kind` says which)
    ├── BudgetSpent                4   a cap is reached; the run can be resumed with a larger one
    ├── TooManyErrors              5   more examples failed than the configuration allows
    └── Interrupted              130   Ctrl-C; the run can be resumed

Each message says what was wrong, what was possible and what to do, in one line.
"""

from typing import ClassVar


class PromptlearnError(Exception):
    """Root of the tree. `str(error)` is one line for the person at the terminal."""

    exit_code: ClassVar[int] = 1


class UsageError(PromptlearnError):
    """Something that the user can fix."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A key of the configuration is missing, unknown or out of range."""


class DataError(UsageError):
    """The examples can not be read; names file, row and column."""


class PromptError(UsageError):
    """A prompt file can not be read or written, or a variable has no column."""


class AssetError(UsageError):
    """A judge or meta-prompt file is missing or malformed."""


class StoreError(UsageError):
    """The store can not be opened or written."""


class WriteError(StoreError):
    """The store takes no more. Nobody used it wrongly, so it ends a command as any other failure does."""

    exit_code: ClassVar[int] = 1


class ModelError(PromptlearnError):
    """A model call failed after its retries.

    `kind` is one of `FAILURE_KINDS`. A `ModelError` is recorded on its rollout or verdict; it never becomes a score.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        retry_after: float | None = None,
        answered: bool = False,
        unavailable: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds that the endpoint asked to be left alone."""
        self.answered = answered
        """Whether it failed after the endpoint had begun to send a reply."""
        self.unavailable = unavailable or (kind == "connection" and not answered)
        """Whether the endpoint serves nobody now, so that the failure says nothing about this call."""

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.kind in {"rate_limit", "server", "timeout", "connection", "malformed", "empty"}

    @property
    def billable(self) -> bool:
        """Whether the endpoint may have charged for the attempt."""
        paid = {"timeout", "malformed", "empty", "truncated", "content_filter", "unparseable"}
        return self.answered or self.kind in paid


class SystemicError(ModelError):
    """No call to this endpoint can succeed, so the run stops at the first one."""

    @property
    def retryable(self) -> bool:
        return False


class TuningError(PromptlearnError):
    """What is trained and what is sampled from can not be trusted any more: going on would waste what it costs."""


class ForgeError(PromptlearnError):
    """A question to the forge got no answer after its retries.

    `kind` is `auth`, `forbidden`, `not_found`, `rate_limit`, `server`, `overload` (asked for too much at once),
    `cursor` (a page that is gone), `connection` or `malformed`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class BudgetSpent(PromptlearnError):
    """A cap would be exceeded by the next call."""

    exit_code: ClassVar[int] = 4


class TooManyErrors(PromptlearnError):
    """The share of failed examples is above `search.max_error_share`."""

    exit_code: ClassVar[int] = 5


class Interrupted(PromptlearnError):
    """The user asked for a stop; everything paid for is stored."""

    exit_code: ClassVar[int] = 130


FAILURE_KINDS = (
    "auth",  # 401, 403: systemic
    "not_found",  # 404, unknown model: systemic
    "bad_request",  # 400, 422 that no retry will mend
    "context_length",  # the prompt is longer than the model's window
    "content_filter",  # the provider refused to answer
    "rate_limit",  # 429 after the last retry
    "server",  # 5xx after the last retry
    "timeout",  # no answer in time, after the last retry
    "connection",  # unreachable or reset, after the last retry
    "malformed",  # a reply that is not what the protocol says
    "empty",  # a reply without text
    "truncated",  # finish_reason=length where a whole text was needed
    "unparseable",  # a judgement or rewrite without the parts that were asked for
    "program",  # the user's own code raised
)
"""Names for what went wrong with one call; each failure is classified once, in `models/` or where a reply is read."""
