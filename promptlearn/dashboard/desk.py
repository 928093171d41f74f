"""The store that the pages read, and the folder beside it for what they keep. Opens; asks nothing."""

from __future__ import annotations

import getpass
from pathlib import Path

from promptlearn.store import Store, open_store
from promptlearn.store.place import find_place, make_own

PROXY_HEADER = "PROMPTLEARN_DASHBOARD_PROXY_HEADER"
"""Environment variable in which the server tells its pages the header that names who was signed in."""


def open_desk(where: str) -> Store:
    """The store for looking at. Raises `StoreError` where there is none yet."""
    return open_store(where, create=False)


def private_folder(where: str) -> Path:
    """The `.promptlearn/` of that store: for this user only."""
    folder = find_place(where).folder
    make_own(folder)
    return folder


def has_store(where: str) -> bool:
    """Whether a run was ever begun there."""
    file = find_place(where).file
    return file is None or file.exists()


def shown(where: str) -> str:
    """The store's place for people, without a password."""
    return at_home(str(find_place(where)))


def at_home(text: str) -> str:
    """A path, or words with paths in them, with `~` for this user's own folder."""
    own = str(Path.home())
    return text.replace(f"{own}/", "~/") if own != "/" else text


def review_paths(home: Path) -> tuple[str, ...]:
    """Which files are prompts, as the configuration in the dashboard's folder says; empty: any."""
    from promptlearn.config.reviews import stated_reviews

    return tuple(stated_reviews(home).get("paths") or ())


def person() -> str:
    """The name of whoever the dashboard runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
