"""A real process, really killed: `kill -9` at random moments, then a last run, gives an undisturbed run's rows."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path
from foreshock.processes.batches import BatchSize
from foreshock.processes.replay import replay
from foreshock.settings.load import load
sys.path.insert(0, sys.argv[3])
from quick import QuickScorer
settings = load(None, flags={"store.url": sys.argv[1]}, environ={}).settings
small = BatchSize(40, 40)
replay(settings, [Path(sys.argv[2])], scorer=QuickScorer, batch_size=small, on_progress=lambda _: print(flush=True))
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_leaves_no_trace(shared: Path, tmp_path: Path, all_rows: Any) -> None:
    import gzip
    import itertools

    with gzip.open(shared / "data" / "streams" / "reuters21578_1987.jsonl.gz", "rt", encoding="utf-8") as whole:
        part = tmp_path / "part.jsonl"
        part.write_text("".join(itertools.islice(whole, 1250)), encoding="utf-8")

    def start(store: Path) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-c", SCRIPT, f"sqlite:///{store}", str(part), str(Path(__file__).parent)]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    clean, killed = tmp_path / "clean.db", tmp_path / "killed.db"
    _, errors = start(clean).communicate()
    assert not errors, errors.decode()
    rng = random.Random(20)
    for _ in range(5):
        process = start(killed)
        assert process.stdout is not None
        # A few batches further, and then anywhere: while reading, in a worker's transaction, in the monitor's.
        for _ in range(rng.randint(1, 6)):
            assert process.stdout.readline(), "it came to its end before it was killed"
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    _, errors = start(killed).communicate()
    assert not errors, errors.decode()
    assert all_rows(f"sqlite:///{killed}") == all_rows(f"sqlite:///{clean}")
