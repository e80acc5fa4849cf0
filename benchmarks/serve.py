"""Measure `foreshock serve` against the scorer alone, on loopback.

    python -m benchmarks.serve            # about three minutes; --small: seconds, and nothing is recorded

The scorer alone and the server take turns on texts that neither has seen, so that a machine whose speed drifts changes
both alike; the rate is the ratio within a round. The client runs on the same cores, and its processor's time counts
against the server. At 70 % of the server's rate, requests come at random times (Poisson), and a latency runs from the
moment at which a request was due.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.model.bench import headlines
from foreshock.model.scorer import Scorer, load_scorer

CONNECTIONS = 16
MANY = 64
"""Connections of a second round with one text a request: the encoder works best on dozens of texts at once."""
CASES = {"1": (1, CONNECTIONS), f"1, over {MANY} connections": (1, MANY), "32": (32, CONNECTIONS)}
"""Texts of a request, and connections that ask all the time."""
ALONE = 128
"""Texts that the scorer alone gets at once."""
AT_MOST = 128
"""Connections at most under the load. A request that finds none waits, and its latency counts that."""
LOAD = 0.7


class Texts:
    """Headlines that were not used before, so that no cache knows them."""

    def __init__(self) -> None:
        self._some = headlines(2_000, seed=3)
        self._used = 0

    def take(self, count: int) -> list[str]:
        begin, self._used = self._used, self._used + count
        return [f"{self._some[i % len(self._some)]} {i}" for i in range(begin, begin + count)]


class Connection:
    """One connection that is kept open. It does no more than it must: its work is not the server's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, texts: list[str]) -> None:
        """Ask for scores and wait for the answer. Raises AssertionError unless it is 200.

        A connection that the server has closed meanwhile, because it was idle for seconds, is opened again.
        """
        try:
            await self._ask(texts)
        except (asyncio.IncompleteReadError, ConnectionError):
            if self._reader is None:
                raise
            self._writer.close()
            self._reader = None
            await self._ask(texts)

    async def _ask(self, texts: list[str]) -> None:
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps({"texts": texts}).encode()
        head = (
            f"POST /score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        )
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert answer.startswith(b"http/1.1 200"), answer
        await self._reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


def alone(scorer: Scorer, texts: list[str]) -> float:
    """Return the scorer's own rate in texts a second."""
    begun = time.perf_counter()
    for start in range(0, len(texts), ALONE):
        scorer.score_stories([(text, "") for text in texts[start : start + ALONE]])
    return len(texts) / (time.perf_counter() - begun)


async def served(port: int, texts: list[str], size: int, connections: int) -> float:
    """Return the server's rate in texts a second, with all connections busy."""
    left = iter([texts[i : i + size] for i in range(0, len(texts), size)])

    async def work(connection: Connection) -> None:
        for part in left:
            await connection.ask(part)

    begun = time.perf_counter()
    await asyncio.gather(*(work(Connection(port)) for _ in range(connections)))
    return len(texts) / (time.perf_counter() - begun)


async def latencies(port: int, texts: list[str], size: int, rate: float) -> list[float]:
    """Return the seconds of each request at a rate in texts a second."""
    free, found = asyncio.Queue[Connection](), list[float]()
    for _ in range(AT_MOST):
        free.put_nowait(Connection(port))
    draw = random.Random(1)

    async def one(part: list[str], due: float) -> None:
        connection = await free.get()
        await connection.ask(part)
        found.append(time.perf_counter() - due)
        free.put_nowait(connection)

    due, tasks = time.perf_counter(), list[asyncio.Task[None]]()
    for i in range(0, len(texts), size):
        due += draw.expovariate(rate / size)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(texts[i : i + size], due)))
    await asyncio.gather(*tasks)
    return found


@contextmanager
def server() -> Iterator[int]:
    """Run `foreshock serve` on a free port until the end of this context."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "foreshock.toml"
        config.write_text('[serve]\nport = 0\nrequests_per_minute = 10000000\n[metrics]\nlisten = ""\n')
        command = [sys.executable, "-m", "foreshock", "serve", "--config", str(config), "--store", f"{folder}/none.db"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            try:
                port = int(process.stdout.readline().rpartition(":")[2])
                asyncio.run(_until_it_scores(port))
                yield port
            finally:
                process.terminate()


async def _until_it_scores(port: int) -> None:
    for _ in range(600):
        try:
            return await Connection(port).ask(["warm"])
        except AssertionError:
            await asyncio.sleep(0.1)
    raise TimeoutError("the server does not score")


def measure(rounds: int, round_seconds: float, seconds: float) -> dict[str, Any]:
    """Return for each size of request: the server's rate over the scorer's own, and latencies at `LOAD` of its rate.

    `round_seconds`: about how long one of the two takes in a round. `seconds`: how long the load lasts.
    """
    texts, scorer = Texts(), load_scorer(cached=0)
    alone(scorer, texts.take(256))
    texts_a_round = max(256, int(round_seconds * alone(scorer, texts.take(256))))
    found: dict[str, Any] = {}
    with server() as port:
        for name, (size, connections) in CASES.items():
            own, ours = list[float](), list[float]()
            asyncio.run(served(port, texts.take(256), size, connections))
            for _ in range(rounds):
                own.append(alone(scorer, texts.take(texts_a_round)))
                ours.append(asyncio.run(served(port, texts.take(texts_a_round), size, connections)))
            rate = LOAD * statistics.median(ours)
            taken = asyncio.run(latencies(port, texts.take(int(rate * seconds)), size, rate))
            found[name] = {
                "scorer_texts_per_second": round(statistics.median(own)),
                "served_texts_per_second": round(statistics.median(ours)),
                "over_scorer": round(statistics.median(b / a for a, b in zip(own, ours, strict=True)), 3),
                "requests_at_load": len(taken),
                **{f"p{q}_ms_at_load": round(1000 * float(np.quantile(taken, q / 100)), 1) for q in (50, 95, 99)},
            }
    return {"connections": CONNECTIONS, "load": LOAD, "by_texts_a_request": found}


def main() -> None:
    if parser(__doc__, small=True).parse_args().small:
        print(json.dumps(measure(rounds=1, round_seconds=0.5, seconds=2.0), indent=2))
    else:
        print(json.dumps(record("serve", "python -m benchmarks.serve", measure(5, 3.0, 20.0)), indent=2))


if __name__ == "__main__":
    main()
