"""From a model's name to its weights and its tokenizer, as transformers wants them.

`local/NAME` and GGUF files are what llama.cpp evaluates with; torch reads them once and keeps an unquantised copy of
the same numbers beside the model cache. Folders and names of the Hugging Face hub go straight to transformers.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptlearn.errors import ConfigError
from promptlearn.models.hub import file_digest
from promptlearn.models.pull import default_cache, model_path
from promptlearn.records import Message, fingerprint

_PREFIX = "local/"
_HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


class ChatTokenizer:
    """A `Tokenizer` over one of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        written = tokenizer.backend_tokenizer.to_str() + (tokenizer.chat_template or "")
        self._hash = hashlib.sha256(written.encode("utf-8")).hexdigest()[:16]

    @property
    def inner(self) -> Any:
        """The one of transformers."""
        return self._tokenizer

    @property
    def hash(self) -> str:
        return self._hash

    @property
    def eos_id(self) -> int | None:
        found: int | None = self._tokenizer.eos_token_id
        return found

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        rendered = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return ids

    def text(self, token_ids: Sequence[int]) -> str:
        said: str = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return said


def load(name: str, device: str, cache_dir: Path | None = None) -> tuple[Any, ChatTokenizer, str]:
    """(model, tokenizer, hash of the weights). bf16 where the device computes in it, else float32.

    `name` is `local/NAME`, a path of a GGUF file or of a folder that transformers wrote, or a name on the hub. Raises
    ConfigError where it is not there.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = _folder(name, cache_dir)
    bf16 = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with _without_bars():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16 if bf16 else torch.float32)
    return model.to(device), ChatTokenizer(tokenizer), _weights_hash(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """What is seen of a run is what its observer says; transformers draws bars of its own on stderr."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def load_config(name: str, cache_dir: Path | None = None) -> Any:
    """The configuration of the model that `name` stands for, of transformers. Raises ConfigError as `load` does."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(_folder(name, cache_dir))


def gguf_file(name: str, cache_dir: Path | None = None) -> Path | None:
    """The GGUF file behind a name; None for a folder or a name on the hub."""
    if name.startswith(_PREFIX):
        return model_path(name.removeprefix(_PREFIX), cache_dir)
    return Path(name).expanduser() if name.endswith(".gguf") else None


def _folder(name: str, cache_dir: Path | None) -> Path:
    if (file := gguf_file(name, cache_dir)) is not None:
        if not file.is_file():
            raise ConfigError(f"{name}: there is no file {file}; get it with `promptlearn models pull`")
        return _unquantised(file, (default_cache() if cache_dir is None else cache_dir) / "torch")
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{name} is neither `local/NAME`, a GGUF file, a folder nor a model that the hub gives away: {said}"
        ) from None


def _unquantised(file: Path, cache: Path) -> Path:
    """A folder with the same numbers in float32; made once for each file."""
    folder = cache / file_digest(file)[:16]
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache, prefix=".partial-"))
    try:
        _convert(file, partial)
        partial.replace(folder)
    except OSError:
        if not folder.is_dir():  # another process may have been faster
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert(file: Path, folder: Path) -> None:
    """A model that came from GGUF refuses to be saved, so its numbers go into a fresh one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    with _without_bars():
        read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = type(read)(config)
    fresh.load_state_dict(read.state_dict())
    fresh.generation_config = read.generation_config
    fresh.save_pretrained(folder)


def _weights_hash(folder: Path) -> str:
    """Over the weight files' contents, so that a folder may lie anywhere."""
    digests = {file.name: file_digest(file) for file in sorted(folder.glob("*.safetensors"))}
    if not digests:
        raise ConfigError(f"{folder} has no *.safetensors file, so it holds no model that can be trained")
    return fingerprint(digests)
