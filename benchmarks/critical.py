"""Measure critical stories: how many a feed has, how many of them were worth a message, and how soon one leaves.

    python -m benchmarks.critical STORE... [--live 20]

STORE: the URL of a store that a feed was replayed into. The built-in words are tried on it (`foreshock critical try`).
What fired was read by one person, who knew the words; `data/critical_read.tsv` has his verdicts by the ids of stories:
yes, if the story tells of something new and grave about the company itself. Live: the real `foreshock run` with the
default encoder reads a growing file and posts to a local server. The time from the story's line to the post counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.recording import record
from foreshock.analysis import critical_try
from foreshock.monitor.store import open_store
from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.settings.models import Settings
from foreshock.settings.versions import topic_rules

READ = Path(__file__).parent / "data" / "critical_read.tsv"
COMPANIES = (
    *("Boeing", "Toyota", "Siemens", "Nestle", "Airbus", "Volkswagen", "Samsung", "Pfizer", "Unilever", "Microsoft"),
    *("Nvidia", "Novartis", "Honda", "Nissan", "Hyundai", "Glencore", "Lufthansa", "AstraZeneca", "Bayer", "Tesla"),
)
"""Built-in companies that the made stories name, each once a run."""


def counted(url: str) -> dict[str, Any]:
    """Return how many stories of a store are critical by the built-in words, and what the reader said of them."""
    engine = open_store(url).engine
    with READ.open(encoding="utf-8", newline="") as file:
        said = {(row["story"], row["topic"]): row["verdict"] for row in csv.DictReader(file, delimiter="\t")}
    fired, joined, words, verdicts = 0, 0, Counter[str](), Counter[str]()
    for tried in critical_try.try_on(engine, [CriticalRule()], topic_rules(Settings())):
        fired, joined = fired + tried.fires, joined + (not tried.fires)
        words.update(tried.topics.values() if tried.fires else ())
        verdicts.update(said.get((tried.story["id"], topic), "") for topic in tried.topics)
    days = critical_try.days(engine)
    read = verdicts["yes"] + verdicts["no"]
    return {
        "days": days,
        "fired": fired,
        "joined": joined,
        "in_28_days": round(28 * fired / max(days, 1), 2),
        "words": dict(words.most_common(12)),
        "read": read,
        "worth_a_message": verdicts["yes"],
        "precision": round(verdicts["yes"] / read, 3) if read else None,
    }


def live(count: int) -> dict[str, Any]:
    """Return the seconds from a story's line to the post about it, for so many stories, one after the other."""
    posted: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for story in body["data"]["stories"]:
                posted.setdefault(story["id"], time.monotonic())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        feed = Path(folder) / "live.jsonl"
        feed.touch()
        (Path(folder) / "foreshock.toml").write_text(
            f'[store]\nurl = "sqlite:///{folder}/live.db"\n[[feeds]]\nfile = "{feed}"\n[[webhooks]]\nname = "desk"\n'
            f'url = "http://127.0.0.1:{server.server_port}"\nsecrets = "whsec_{"A" * 32}"\nallow_private = true\n'
        )
        command = [sys.executable, "-m", "foreshock", "run", "--config", f"{folder}/foreshock.toml"]
        process = subprocess.Popen(
            command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            seconds = [_sent(feed, number, posted) for number in range(count)]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            server.shutdown()
    first, *rest = seconds
    rest.sort()
    return {
        "stories": count,
        "first_with_start_of_process_and_encoder": round(first, 2),
        "median": round(statistics.median(rest), 2),
        "largest": round(rest[-1], 2),
    }


def _sent(feed: Path, number: int, posted: dict[str, float]) -> float:
    """Append a critical story, and a dull one before it; return after how many seconds it was posted."""
    company, at = COMPANIES[number], time.time()
    dull = {"id": f"d{number}", "title": f"Markets open little changed, report {number}", "published_at": at - 1}
    grave = {"id": f"c{number}", "title": f"{company} plant explosion kills {number + 3} workers", "published_at": at}
    begun = time.monotonic()
    with feed.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**story, "source": "wire"}) + "\n" for story in (dull, grave))
    while grave["id"] not in posted:
        if time.monotonic() - begun > 120:
            raise TimeoutError(f"the story about {company} was not posted within 2 minutes")
        time.sleep(0.01)
    return posted[str(grave["id"])] - begun


def _live(text: str) -> int:
    """Return a number of live stories: one for the start and one for the median at least, and one for each company."""
    if not text.isdecimal() or not 2 <= int(text) <= len(COMPANIES):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 2 to {len(COMPANIES)}")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", metavar="STORE")
    most = len(COMPANIES)
    parser.add_argument("--live", type=_live, default=most, help=f"how many stories are sent live, 2 to {most}")
    args = parser.parse_args()
    feeds = {Path(url).stem: counted(url) for url in args.stores}
    command = f"python -m benchmarks.critical {' '.join(f'sqlite:///{name}.db' for name in feeds)} --live {args.live}"
    print(json.dumps(record("critical", command, {"feeds": feeds, "live_seconds": live(args.live)}), indent=2))


if __name__ == "__main__":
    main()
