"""Provider batch APIs: the same calls at half the price, answered within a day.

`BatchModel` is a Model around a `ChatModel`; its calls are collected, sent as one file, and answered when the provider
is done. `log` says what is remembered of a batch, `lines` reads and writes the files, `provider` speaks the protocol,
`collector` is what happens in between. None of them imports the OpenAI SDK before the first batch is sent.
"""

from promptlearn.models.batch.collector import BatchOptions
from promptlearn.models.batch.log import BatchLog, BatchProgress
from promptlearn.models.batch.model import BatchModel, batched

__all__ = ["BatchLog", "BatchModel", "BatchOptions", "BatchProgress", "batched"]
