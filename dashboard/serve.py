"""Start the dashboard's server as a process of its own.

    with serve.started(ServeSettings(store=url)) as process: ...

The process runs in this folder, so Streamlit reads the `.streamlit/config.toml` here and no other. It gets its settings
from an environment variable. It ends when the process that started it ends, also after a crash.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from foreshock.dashboard.errors import DashboardError, PortTaken
from foreshock.dashboard.settings import VARIABLE, ServeSettings

HERE = Path(__file__).parent
START_SECONDS = 60
STOP_SECONDS = 5
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile")
"""What names a file in a URL of PostgreSQL."""


@contextmanager
def started(settings: ServeSettings) -> Iterator[subprocess.Popen[bytes]]:
    """Start the server, wait until it answers, and stop it at the end of this context.

    Raises:
        PortTaken: another program listens on the port.
        DashboardError: the server does not answer, or ended at once.
    """
    settings = from_anywhere(settings)
    _refuse_a_taken_port(settings)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")},
        VARIABLE: settings.handed_on(),
        # A checkout may not be installed: the child runs in another folder and must still find `foreshock`.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_root()), os.environ.get("PYTHONPATH", "")])),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "foreshock.dashboard.server"],
        cwd=HERE,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches this process alone; it then stops the server
    )
    try:
        _wait(process, settings)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def address(settings: ServeSettings) -> str:
    """Return the address at which a browser on this machine reaches the dashboard, without a slash at its end."""
    anywhere = ("0.0.0.0", "", "localhost")  # noqa: S104  # compared, not bound
    host = "127.0.0.1" if settings.host in anywhere else settings.host
    host = "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}{settings.prefix}"


def from_anywhere(settings: ServeSettings) -> ServeSettings:
    """Return the settings with absolute paths: the dashboard runs in another folder."""
    watchlist = settings.watchlist_file
    return settings.model_copy(
        update={
            "store": absolute(settings.store),
            "model": settings.model.from_anywhere(),
            "watchlist_file": None if watchlist is None else watchlist.absolute(),
        }
    )


def absolute(url: str) -> str:
    """Return the store's URL with the absolute paths of a SQLite file, or of what PostgreSQL's certificates are in."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database:
            return url
        parsed = parsed.set(database=str(Path(parsed.database).absolute()))
    else:
        # A key that is given twice has a tuple of values, and `sslkey=engine:key` names no file.
        files = {
            name: str(Path(path).absolute())
            for name, path in parsed.query.items()
            if name in FILES and isinstance(path, str) and path != "system" and not (name == "sslkey" and ":" in path)
        }
        if not files:
            return url
        parsed = parsed.update_query_dict(files)
    return parsed.render_as_string(hide_password=False)


def _refuse_a_taken_port(settings: ServeSettings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise PortTaken(
                f"Cannot listen on {settings.host}, port {settings.port}: {error.strerror}. "
                "Another dashboard may be running. Choose another port: "
                f"foreshock dashboard --port {settings.port % 65535 + 1}"
            ) from error


def _wait(process: subprocess.Popen[bytes], settings: ServeSettings) -> None:
    deadline = time.monotonic() + START_SECONDS
    health = f"{address(settings)}/_stcore/health"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DashboardError(f"The dashboard's server ended at once, with exit code {process.returncode}.")
        try:
            with opener.open(health, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise DashboardError(f"The dashboard's server did not answer at {health} within {START_SECONDS} s.")


def _root() -> Path:
    import foreshock

    return Path(foreshock.__file__).parent.parent
