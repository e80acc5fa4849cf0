"""Who reaches /metrics and /healthz can waste its own connection, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.observability import http
from foreshock.observability.http import MetricsSettings, serving

pytestmark = pytest.mark.slow

Address = tuple[str, int]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setattr(http, "SECONDS", 3.0)
    with serving(MetricsSettings(listen="127.0.0.1:0"), "run") as found:
        assert found is not None
        yield found


def get(address: Address, path: str = "/metrics") -> bytes:
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=30) as answer:
        return bytes(answer.read())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_hundreds_of_slow_connections_take_neither_descriptors_nor_threads_and_a_scrape_is_answered(
    address: Address,
) -> None:
    before, threads = descriptors(), threading.active_count()
    slow: list[socket.socket] = []
    try:
        for _ in range(300):
            connection = socket.create_connection(address, timeout=30)
            with contextlib.suppress(OSError):
                connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            slow.append(connection)
        assert b"foreshock_active" in get(address), "whoever scrapes is answered meanwhile"
        until = time.monotonic() + 30
        while threading.active_count() - threads > http.MOST_CONNECTIONS + 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert threading.active_count() - threads <= http.MOST_CONNECTIONS + 2
        assert descriptors() - before - len(slow) <= http.MOST_CONNECTIONS + 5
    finally:
        for connection in slow:
            connection.close()
    assert b"foreshock_active" in get(address)


def test_a_request_that_comes_byte_by_byte_is_left_after_the_limit(address: Address) -> None:
    began = time.monotonic()
    with socket.create_connection(address, timeout=60) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        while time.monotonic() - began < 60:
            connection.sendall(b"X-Slow: x\r\n")
            time.sleep(0.2)
    assert time.monotonic() - began < 45, "each byte comes in time, and the whole does not"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X-Long: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X-Many: a\r\n" * 100_000 + b"\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n" + b"a" * 1_000_000,
        b"\x00\xff" * 500_000,
    ],
)
def test_a_request_of_any_size_costs_a_few_kilobytes(address: Address, request_: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(address, timeout=60) as connection, contextlib.suppress(OSError):
        connection.sendall(request_)
        while connection.recv(65_536):
            pass
    assert time.monotonic() - began < 45
    assert b"foreshock_active" in get(address)
