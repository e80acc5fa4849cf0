"""Take the pictures of the pages in docs/images, from the demo's feed up to a day and a half into its crisis.

    python tests/screenshots.py [FOLDER]        # every page, each width, light and dark, into FOLDER
    python tests/screenshots.py                 # into docs/images: only the pictures that the README and the docs show

The stories are scored by the shipped weights, so this takes some minutes. `--store URL` uses an existing store.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import tempfile
from datetime import timedelta
from pathlib import Path

from foreshock.dashboard import serve, text
from foreshock.dashboard.settings import ServeSettings
from foreshock.demo import generator
from foreshock.monitor.kinds import SPIKE
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import views
from foreshock.monitor.store.database import connect, reading
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SHOWN = {"now-1440-light", "topic-1440-light", "topic-1440-dark", "alert-1440-light", "now-390-dark"}
"""The pictures that a document shows."""

HEIGHT = {1440: 1500, 1024: 1400, 390: 1300}


def make_store(folder: Path) -> str:
    """Replay the demo's feed up to the middle of its crisis, with the shipped weights."""
    until = (generator.truth(7).crisis.start + timedelta(hours=36)).strftime("%Y-%m-%dT%H:%M:%SZ")
    feed = folder / "news.jsonl"
    with feed.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(story) + "\n" for story in generator.generate(7) if story["published_at"] < until)
    url = f"sqlite:///{folder / 'news.db'}"
    replay(Settings(store=StoreSettings(url=url)), [feed])
    return url


def addresses(url: str) -> dict[str, str]:
    """Return the address of each page by the name of its picture. The alert is the newest surge, if there is one."""
    engine = connect(url, create=False)
    with reading(engine) as connection:
        alerts = [a for a in views.alerts(connection, states=("firing", "resolved")) if a.kind != "silence"]
    engine.dispose()
    alerts.sort(key=lambda alert: alert.kind != SPIKE)  # stable: the newest first
    topic = alerts[0].topic if alerts else "_all"
    found = {
        "now": "",
        "topic": text.address("Topic", topic=topic),
        "alerts": "Alerts",
        "stories": text.address("Stories", words="security breach"),
        "health": "Health",
    }
    return found | ({"alert": text.address("Alerts", alert=alerts[0].id)} if alerts else {})


def take(url: str, folder: Path, names: set[str] | None) -> None:
    """Take pictures of every page, or only those in `names`, into `folder`."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = ServeSettings(store=url, port=probe.getsockname()[1])
    folder.mkdir(parents=True, exist_ok=True)
    with serve.started(settings), sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width, height in HEIGHT.items():
            for scheme in ("light", "dark"):
                for name, path in addresses(url).items():
                    picture = f"{name}-{width}-{scheme}"
                    if names is not None and picture not in names:
                        continue
                    size = {"width": width, "height": height}
                    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
                    page = context.new_page()
                    page.goto(f"{serve.address(settings)}/{path}")
                    page.wait_for_selector(".fs-asof")
                    page.wait_for_timeout(2500)
                    page.screenshot(path=folder / f"{picture}.png")
                    context.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of the pages.")
    parser.add_argument("folder", nargs="?", type=Path, help="all pictures, into this folder")
    parser.add_argument("--store", help="an existing store")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        url = asked.store or make_store(Path(temporary))
        take(url, asked.folder or IMAGES, None if asked.folder else SHOWN)


if __name__ == "__main__":
    main()
