"""Parse feeds in a process of its own, which is ended when it is out of time or memory.

    parser = FeedParser()
    records = parser.parse(data, request, seconds=10.0)

A parser of hostile text may run for minutes, take all memory, or end its process. Here that costs one poll of the feed
whose text it is. The process is started when it is first needed, serves one feed after another, and ends with the
process that started it. Requests and answers are JSON with their lengths before them; nothing is unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

import orjson

from foreshock.ingest.errors import FeedUnavailable

MEMORY = 2 << 30
"""The most memory of the process, in bytes. A feed of 10 MiB takes a tenth of it."""
FULL = 300 << 10
"""The process is replaced once it has taken this much, in KiB: what a large feed took is not given back."""
STARTING = 20.0
"""Seconds beyond those of the request that the process may take to start on a busy machine."""

ENDED = "cannot be parsed: it ended the parser, or took too much memory"

_LENGTH = struct.Struct("<QQ")


class _Ended(Exception):
    """The process ended before it answered."""


class FeedParser:
    """The process that parses. Threads may share it; each waits for its turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def parse(self, data: bytes, request: dict[str, Any], *, seconds: float) -> list[dict[str, Any]]:
        """Return the records of a feed, in its order. `request`: from `rss.request_of`, all that the process knows.

        Raises:
            FeedUnavailable: the bytes are no feed, break a limit, or take too long or too much memory to parse.
        """
        with self._lock:
            known = self._process is not None and self._process.poll() is None
            try:
                answer = self._asked(request, data, seconds, fresh=not known)
            except _Ended:
                # It may have ended of what others had left. Then a new one parses the feed.
                if not known:
                    raise FeedUnavailable(ENDED) from None
                try:
                    answer = self._asked(request, data, seconds, fresh=True)
                except _Ended:
                    raise FeedUnavailable(ENDED) from None
            if answer.get("full"):
                self._end()
        if "refused" in answer:
            raise FeedUnavailable(answer["refused"])
        return list(answer["records"])

    def _asked(self, request: dict[str, Any], data: bytes, seconds: float, *, fresh: bool) -> dict[str, Any]:
        process = self._started() if fresh or self._process is None else self._process
        over = threading.Event()

        def end() -> None:
            over.set()
            process.kill()

        timer = threading.Timer(seconds + (STARTING if fresh else 0.0), end)
        timer.daemon = True
        timer.start()
        try:
            _write(process.stdin, {**request, "seconds": seconds + STARTING}, data)
            return _read(process.stdout)[0]
        except (OSError, EOFError, ValueError):
            self._end()
            if over.is_set():
                raise FeedUnavailable(f"cannot be parsed: it took more than {seconds:.0f} s") from None
            raise _Ended from None
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        self._end()
        command = [sys.executable, "-c", "from foreshock.ingest.feed_parser import serve; serve()"]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a fixed program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        atexit.register(self._end)
        return self._process

    def _end(self) -> None:
        atexit.unregister(self._end)
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        process.wait()


def serve() -> None:
    """Answer requests until there are no more. This is the main function of the parser's process."""
    import resource

    from foreshock.ingest.rss import records_of

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to the process that started this one
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    while True:
        try:
            request, data = _read(requests)
        except EOFError:
            return
        # If nobody is left to end this process, the system does.
        signal.setitimer(signal.ITIMER_REAL, request.pop("seconds"))
        answer: dict[str, Any]
        try:
            answer = {"records": records_of(data, **request)}
        except FeedUnavailable as error:
            answer = {"refused": str(error)}
        except Exception as error:  # what nobody thought of must cost this feed, and say what it was
            answer = {"refused": f"cannot be read: {type(error).__name__}"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, {**answer, "full": _most_memory() > FULL}, b"")


def _most_memory() -> int:
    """Return the most memory that this process has had, in KiB."""
    import resource

    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    # On Linux this would begin with the memory of the process that started this one.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def _write(pipe: BinaryIO | Any, head: dict[str, Any], data: bytes) -> None:
    packed = orjson.dumps(head)
    pipe.write(_LENGTH.pack(len(packed), len(data)) + packed)
    pipe.write(data)
    pipe.flush()


def _read(pipe: BinaryIO | Any) -> tuple[dict[str, Any], bytes]:
    head, data = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return orjson.loads(_exactly(pipe, head)), _exactly(pipe, data)


def _exactly(pipe: BinaryIO | Any, size: int) -> bytes:
    found: bytes = pipe.read(size)
    if len(found) < size:
        raise EOFError
    return found


_shared = FeedParser()


def parse(data: bytes, request: dict[str, Any], *, deadline: float) -> list[dict[str, Any]]:
    """Parse in the process that all feeds share. `deadline`: as `time.monotonic` gives it; a turn is waited for."""
    return _shared.parse(data, request, seconds=max(1.0, deadline - time.monotonic()))
