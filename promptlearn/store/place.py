"""Where a store is: its URL, the folder beside it, and who may read them.

Knows paths and permissions, no tables. Files and locks of a run stand in a folder `.promptlearn/`: the one that holds
the database, else one beside it, and for a database on a server one in the working directory, because they belong to
the machine that the run is on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from promptlearn.errors import StoreError

FOLDER = ".promptlearn"
FILE = "store.db"
DIALECTS = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Place:
    url: URL
    folder: Path
    """The `.promptlearn/` that holds `runs/<id>/`."""
    file: Path | None
    """None for a database on a server."""

    def __str__(self) -> str:
        return str(self.file) if self.file else self.url.render_as_string(hide_password=True)


def find_place(where: str | Path | None) -> Place:
    """What `where` names: nothing, a file, a folder that has (or will have) a `store.db`, or a SQLAlchemy URL."""
    if where is None:
        return _file_place(Path(FOLDER) / FILE)
    if isinstance(where, str) and "://" in where:
        return _url_place(where)
    path = Path(where)
    return _file_place(path / FILE if path.is_dir() or path.name == FOLDER else path)


def prepare(place: Place, create: bool) -> None:
    """Make folder (0700) and file (0600), or refuse where nothing is there and nothing may be made."""
    file = place.file
    try:
        if file is None or (file.exists() and file.parent != place.folder):
            return
        if not create and not file.exists():
            raise StoreError(f"there is no store at {file}: start a run first, or name another store")
        if file.parent == place.folder:
            make_own(place.folder)
        make_private(file.parent)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"no store can be made at {place}: {reason}; name another place for it") from error


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user only."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def make_own(folder: Path) -> None:
    """Make a `.promptlearn/`, or make the one that is there private: for this user only, and never committed."""
    make_private(folder)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")


def _file_place(path: Path) -> Place:
    file = path.absolute()
    folder = file.parent if file.parent.name == FOLDER else file.parent / FOLDER
    return Place(URL.create("sqlite", database=str(file)), folder, file)


def _url_place(text: str) -> Place:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StoreError("the store's URL can not be read: write a path, or dialect://user@host/database") from error
    dialect = url.get_backend_name()
    if dialect not in DIALECTS:
        raise StoreError(f"a store can not be a {dialect} database: possible are {' and '.join(DIALECTS)}")
    if dialect != "sqlite":
        return Place(url, Path(FOLDER).absolute(), None)
    if url.database in (None, "", ":memory:"):
        raise StoreError("a store in memory would lose replies that were paid for: name a file")
    return _file_place(Path(str(url.database)))
