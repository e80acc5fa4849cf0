"""Foreshock's commands as real processes: started with a settings file, killed, paused and stopped by signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servers import wait_until

ROOT = Path(__file__).parents[1]
LOG_SHOWN = 4_000
"""Characters of each log's end that a failed test shows."""


def toml(sections: dict[str, Any]) -> str:
    """A settings file: a section's table, or a list of tables."""
    lines = list[str]()
    for name, tables in sections.items():
        for table in tables if isinstance(tables, list) else [tables]:
            lines.append(f"[[{name}]]" if isinstance(tables, list) else f"[{name}]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)  # a JSON text, number, list of them, true or false is TOML, too


class Process:
    """One process of a command, and those that follow it when it is started again; all write to one log file."""

    def __init__(self, name: str, log: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.log = log
        self.starts = 0
        self._arguments = arguments
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        assert not self.alive
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "foreshock", *self._arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=self.log.parent,
                start_new_session=True,
            )
        self.starts += 1
        return self

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit status; None while it runs."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """`kill -9`; it is gone when this returns."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, seconds: float) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {seconds:.0f} s: {self.shown()}") from None

    def stop(self, seconds: float = 10) -> int:
        """SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it logged, those called so."""
        found = list[dict[str, Any]]()
        for line in self.text().splitlines():
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return [event for event in found if not names or event.get("event") in names]

    def says(self, text: str, seconds: float = 60) -> None:
        """Wait until its log holds this text."""

        def there() -> bool:
            if text in self.text():
                return True
            assert self.alive or text in self.text(), f"{self.name} ended ({self.code}): {self.shown()}"
            return False

        wait_until(there, f"{self.name} says {text!r}; it said: {self.shown()}", seconds)

    def shown(self) -> str:
        return self.text()[-LOG_SHOWN:]


class Processes:
    """All of a test's processes, their settings and their logs in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all = list[Process]()
        folder.mkdir(parents=True, exist_ok=True)

    def settings(self, name: str = "foreshock.toml", **sections: Any) -> Path:
        """A settings file of these sections; without the default topics and without a port of its own."""
        path = self.folder / name
        path.write_text(toml({"watchlist": {"defaults": False}, "metrics": {"listen": ""}, **sections}))
        return path

    def make(
        self, *arguments: str, config: Path | None, name: str = "", variables: Mapping[str, str] | None = None
    ) -> Process:
        """A process of `foreshock ARGUMENTS --config CONFIG`, not started yet; `variables` are its environment's."""
        name = name or f"{arguments[0]}-{sum(p.name.startswith(arguments[0]) for p in self.all) + 1}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FORESHOCK_")}
        # One thread each: they share the machine, and several pools of threads on two cores only wait for each other.
        environment |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        given = [] if config is None else ["--config", str(config)]
        process = Process(name, self.folder / f"{name}.log", [*arguments, *given], {**environment, **(variables or {})})
        self.all.append(process)
        return process

    def start(self, *arguments: str, config: Path, name: str = "") -> Process:
        return self.make(*arguments, config=config, name=name).start()

    def run(self, *arguments: str, config: Path, name: str = "", seconds: float = 120) -> Process:
        """Start it and wait for its end, which is a good one."""
        process = self.start(*arguments, config=config, name=name)
        code = process.wait(seconds)
        assert code == 0, f"{process.name} exited {code}: {process.shown()}"
        return process

    def close(self) -> None:
        """End what still runs, and print the logs: pytest shows them where the test failed."""
        begun = time.monotonic()
        for process in self.all:
            process.kill()
        for process in self.all:
            print(f"--- {process.name}, started {process.starts} times, exit status {process.code}\n{process.shown()}")
        assert time.monotonic() - begun < 30
