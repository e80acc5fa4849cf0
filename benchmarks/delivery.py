"""Measure the time from the transaction that puts an alert into the outbox to the arrival of its webhook.

    python -m benchmarks.delivery

A process writes 200 alerts at random moments, one in each transaction. It does not wake the sender, which therefore
finds them by polling, as if another process had closed the buckets. The receiver runs on this machine and verifies each
signature. A second receiver hangs all the time.
"""

from __future__ import annotations

import json
import random
import socket
import tempfile
import time

import numpy as np
from sqlalchemy import insert

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.demo.receiver import Received, Receiver
from foreshock.monitor.delivery import receivers
from foreshock.monitor.delivery.notice import SAMPLE_ALERT
from foreshock.monitor.delivery.sender import Sender
from foreshock.monitor.delivery.settings import WebhookSettings
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import connect, writing

ALERTS = 200
SECONDS = 30.0
"""How long the alerts take together, on average."""


def main() -> None:
    arrived: dict[str, float] = {}

    def take(received: Received) -> None:
        assert received.body is not None
        arrived.setdefault(received.body["data"]["id"], time.monotonic())

    committed: dict[str, float] = {}
    draw = random.Random(7)
    with (
        tempfile.TemporaryDirectory() as folder,
        Receiver(take) as receiver,
        socket.create_server(("127.0.0.1", 0)) as hanging,
    ):
        engine = connect(f"sqlite:///{folder}/store.db", create=True)
        urls = {"quick": receiver.url, "hanging": f"http://127.0.0.1:{hanging.getsockname()[1]}/"}
        webhooks = [
            WebhookSettings.model_validate(
                {"name": name, "url": url, "secrets": receiver.secret, "allow_private": True}
            )
            for name, url in urls.items()
        ]
        with Sender(engine, receivers(webhooks, [])):
            for number in range(ALERTS):
                alert_id = f"00000000-0000-0000-0000-{number:012}"
                with writing(engine) as connection:
                    connection.execute(insert(schema.alerts).values(**_alert(alert_id, number)))
                    alert = {**SAMPLE_ALERT, "id": alert_id}
                    connection.execute(
                        insert(schema.outbox).values(
                            alert_id=alert_id,
                            event="firing",
                            decided_at=number,
                            state="queued",
                            alert=json.dumps(alert),
                        )
                    )
                committed[alert_id] = time.monotonic()
                time.sleep(draw.uniform(0, 2 * SECONDS / ALERTS))
            deadline = time.monotonic() + 30
            while len(arrived) < ALERTS and time.monotonic() < deadline:
                time.sleep(0.01)
            hanging.close()
        engine.dispose()
    waits = np.array([arrived[alert_id] - at for alert_id, at in committed.items() if alert_id in arrived])
    figures = {
        "alerts": ALERTS,
        "arrived": len(waits),
        "receiver_beside_it": "hangs",
        "seconds": {f"p{q}": round(float(np.percentile(waits, q)), 3) for q in (50, 95, 99, 100)},
    }
    print(json.dumps(record("delivery", "python -m benchmarks.delivery", figures), indent=2))


def _alert(alert_id: str, at: int) -> dict[str, object]:
    return {
        **{"id": alert_id, "topic": "Banks", "kind": "drift", "direction": "worse", "state": "firing"},
        **{"origin": "live", "started_at": at, "pending_at": at, "fired_at": at, "observed": 0.5, "baseline": 0.1},
        **{"score": 4.0, "window_start": at, "window_end": at, "evidence": "[]", "sources": 1, "events": 1},
        **{"sentence": "It fell.", "settings": 1},
    }


if __name__ == "__main__":
    parser(__doc__).parse_args()
    main()
