"""One chat completion per example: the prompt rendered, the reply taken as the output."""

import time

from promptlearn.errors import ModelError, PromptlearnError, SystemicError
from promptlearn.models.base import Model
from promptlearn.records import Example, Failure, Prompt, Rollout


class ChatProgram:
    """Runs a prompt with one model call.

    An answer cut at the model's own `max_tokens` is an output like any other: the cap is part of the task. Its rollout
    says `stop_reason="length"`.
    """

    name = "chat"

    def __init__(self, model: Model) -> None:
        self._model = model

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        started = time.monotonic()
        try:
            reply = await self._model.complete(prompt.render(example.inputs))
        except SystemicError:
            raise
        except ModelError as error:
            return _failed(prompt, example, Failure(error.kind, str(error)), started)
        except PromptlearnError:
            raise
        except Exception as error:  # a model of the user's own may raise anything; its words are kept on the rollout
            return _failed(prompt, example, Failure("program", f"{type(error).__name__}: {error}"), started)
        return Rollout(
            prompt=prompt.digest,
            example=example.id,
            output=reply.text,
            stop_reason=reply.finish_reason,
            usage=reply.usage,
            seconds=reply.seconds,
        )


def _failed(prompt: Prompt, example: Example, failure: Failure, started: float) -> Rollout:
    return Rollout(prompt=prompt.digest, example=example.id, error=failure, seconds=time.monotonic() - started)
