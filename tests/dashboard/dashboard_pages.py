"""Opens pages of the dashboard on a store, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "app"
NAMES = tuple(sorted(path.stem for path in (APP / "views").glob("*.py")))
SECONDS = 30


class Pages:
    """The dashboard in a folder of its own."""

    def __init__(self, folder: Path, store: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.store = store
        patch.setenv("PROMPTLEARN_STORE", str(store))
        patch.setenv("PROMPTLEARN_DASHBOARD_HOME", str(folder))

    def close(self) -> None:
        """Forget what Streamlit keeps for the whole process, the store among it."""
        st.cache_resource.clear()
        st.cache_data.clear()

    def open(self, name: str, **query: str) -> AppTest:
        """A page, after its script ran without an exception."""
        test = AppTest.from_file(str(APP / "main.py"), default_timeout=SECONDS).run()
        for key, value in query.items():
            test.query_params[key] = value
        test.switch_page(f"views/{name}.py").run()
        assert not test.exception, [one.value for one in test.exception]
        return test


def everything(test: AppTest) -> str:
    """All that a page sends to the browser; escaped characters as they are shown."""
    parts = [str(node.proto) for root in (test.main, test.sidebar) for node in root if getattr(node, "proto", None)]
    return re.sub(r"\\{2}([!-/:-@\[-`{-~])", r"\1", "\n".join(parts))
