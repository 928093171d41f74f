"""The dashboard's server: the Streamlit app in `app/`, bound to this machine, behind the gate.

Knows sockets and Streamlit's options; who may come in is for `gate`, what is shown for the app. Streamlit sends no
statistics, watches no files, and shows no traceback to a browser.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptlearn.assets import asset_dir
from promptlearn.dashboard.desk import PROXY_HEADER
from promptlearn.dashboard.gate import LOOPBACK, Gate, Rules
from promptlearn.dashboard.theme import THEME
from promptlearn.errors import UsageError

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

PORT = 8501
PASSWORD_ENV = "PROMPTLEARN_DASHBOARD_PASSWORD"  # noqa: S105 - the name of a variable
STORE_ENV = "PROMPTLEARN_STORE"
HOME_ENV = "PROMPTLEARN_DASHBOARD_HOME"
"""Folder that configurations are looked for in."""
SHORTEST_PASSWORD = 8
PORTS_TRIED = 20
EXTRA = "the dashboard needs Streamlit: pip install 'promptlearn-optimizer[dashboard]'"
OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 50,
    "server.disconnectedSessionTTL": 60,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    "logger.level": "error",
    **THEME,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How the dashboard is to be served."""

    store: str
    """Path or URL."""
    host: str = "127.0.0.1"
    port: int | None = None
    """None: 8501, or the next that is free; 0: any that is free."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which it is asked for, beside those of this machine."""
    password: str = field(default="", repr=False)
    proxy_header: str = ""
    home: Path = field(default_factory=Path.cwd)

    def rules(self, open_paths: frozenset[str] = frozenset()) -> Rules:
        hosts = LOOPBACK | {name.lower().rstrip(".") for name in self.allowed_hosts}
        return Rules(hosts, self.password, self.proxy_header, open_paths)


def check_settings(settings: Settings) -> None:
    """Raise `UsageError` for a server that would believe anybody, or could not start."""
    if find_spec("streamlit") is None:
        raise UsageError(EXTRA)
    if settings.password and len(settings.password) < SHORTEST_PASSWORD:
        raise UsageError(f"the password in {PASSWORD_ENV} is too short; take {SHORTEST_PASSWORD} characters or more")
    guarded = settings.password or settings.proxy_header
    if not guarded and (settings.host not in LOOPBACK or not LOOPBACK.issuperset(settings.allowed_hosts)):
        raise UsageError(
            f"others than this machine could see and start runs: put a password into {PASSWORD_ENV}, "
            "or name with --proxy-header the header in which your proxy says who somebody is"
        )
    if settings.proxy_header and not settings.password and settings.host not in LOOPBACK:
        raise UsageError(
            f"anybody could send the header {settings.proxy_header} to {settings.host} past your proxy: listen on "
            f"127.0.0.1 behind it, or put a password into {PASSWORD_ENV}"
        )


def serve(
    settings: Settings,
    on_ready: Callable[[str], None] = lambda url: None,
    routes: tuple[BaseRoute, ...] = (),
    open_browser: bool = False,
) -> None:
    """Serve until Ctrl-C; `on_ready` hears the address. Raises `UsageError` for a port that is taken."""
    check_settings(settings)
    import streamlit as st
    import uvicorn
    from starlette.middleware import Middleware
    from streamlit.web import bootstrap

    os.environ[STORE_ENV] = settings.store
    os.environ[HOME_ENV] = str(settings.home.resolve())
    os.environ[PROXY_HEADER] = settings.proxy_header
    bound = _bind(settings.host, settings.port)
    port = bound.getsockname()[1]
    bootstrap.load_config_options({**OPTIONS, "server.port": port, "server.address": settings.host})
    paths = frozenset(str(getattr(route, "path", "")) for route in routes)
    app = st.App(script(), routes=routes, middleware=[Middleware(Gate, rules=settings.rules(paths))])
    config = uvicorn.Config(app, log_level="error", access_log=False, ws=_protocol(), timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    url = f"http://{_shown(settings.host)}:{port}"
    threading.Thread(target=_announce, args=(server, url, on_ready, open_browser), daemon=True).start()
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        return
    finally:
        bound.close()


def script() -> Path:
    """The page that Streamlit runs."""
    return Path(str(asset_dir("app"))) / "main.py"


def _protocol() -> Any:
    """uvicorn's websockets without the legacy implementation, as Streamlit has it too."""
    return "websockets-sansio"


def _announce(server: Any, url: str, on_ready: Callable[[str], None], open_browser: bool) -> None:
    waited = threading.Event()
    while not server.started and not server.should_exit:
        waited.wait(0.05)
    if server.started:
        on_ready(url)
        if open_browser:
            webbrowser.open(url)


def _bind(host: str, port: int | None) -> socket.socket:
    """A socket that listens; without a wish for a port on the first that is free."""
    wanted = range(PORT, PORT + PORTS_TRIED) if port is None else (port,)
    for number in wanted:
        try:
            return _listen(host, number)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UsageError(f"{host}:{number} can not be listened on: {error.strerror or error}") from None
    tried = f"{wanted[0]}" if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]}"
    raise UsageError(f"port {tried} of {host} is taken; name another --port, or 0 for any that is free")


def _listen(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except OSError:
        found.close()
        raise
    return found


def _shown(host: str) -> str:
    """As it is typed into a browser."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - what was asked for, shown
        return "localhost"
    return f"[{host}]" if ":" in host else host
