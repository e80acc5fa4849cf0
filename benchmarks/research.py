"""Run examples/sentiment_and_market.py on two years of real headlines, and record what it says.

python -m benchmarks.research         # reads the headlines with the shipped encoder: some minutes
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.processes.replay import replay
from foreshock.settings.load import load

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
FEED, MARKET = DATA / "streams" / "reuters_2018_2020.jsonl.gz", DATA / "market" / "sp500_vix_daily.csv"


def measure() -> dict[str, Any]:
    """Replay the headlines into a new store, and run the example on it."""
    path = ROOT / "examples" / "sentiment_and_market.py"
    spec = importlib.util.spec_from_file_location("sentiment_and_market", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        url = f"sqlite:///{folder}/store.db"
        counts = replay(load(None, flags={"store.url": url}, environ={}).settings, [FEED], sort=True).counts
        found = example.main([url, str(MARKET), "--column", "sp500_close"])
    return {"feed": FEED.name, "stories": counts["stories"], **found}


if __name__ == "__main__":
    parser(__doc__).parse_args()
    print(json.dumps(record("research", "python -m benchmarks.research", measure()), indent=2))
