"""Measure the processor time that traces cost a worker a story: to make its spans, and to pack them for a collector.

    python -m benchmarks.tracing

Processor time and not the clock's, so other work on the machine hardly changes it. Nothing is sent: a request of 2,048
spans would cost the collector more than this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.observability.tracing import AT_ONCE, Spans
from foreshock.processes.rows import Taken
from foreshock.processes.story_traces import StoryTraces

BATCHES, STORIES = 40, 512
SPANS = 3
"""`read`, `score` and `store`."""
SHARES = (1.0, 0.1, 0.01)


class Packed(SpanExporter):
    """Packs spans as a request to a collector, and drops them."""

    count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        self.count += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def _batch(number: int) -> Any:
    rows = [
        {
            "partition": "news/3@AAAAAAAAAAAAAAAAAAAAAA",
            "offset": number * STORIES + place,
            "id": f"wire-{number}-{place}",
            "source": "Example Wire",
            "published_at": 1_770_000_000_000_000,
            "counts_at": 1_770_000_000_000_000,
            "late": False,
            "stale": False,
            "model": "default-int8",
        }
        for place in range(STORIES)
    ]
    topics = [{"partition": row["partition"], "offset": row["offset"], "topic": "Acme"} for row in rows]
    return SimpleNamespace(stories=rows, story_topics=topics)


def measure() -> dict[str, Any]:
    """Return microseconds of processor time a story, by share. Without traces nothing is called, so it costs none."""
    batches = [_batch(number) for number in range(BATCHES)]
    found: dict[str, float] = {}
    for share in SHARES:
        packed = Packed()
        spans = Spans(packed, process="worker", share=share)
        wanted = sum(spans.wants(row["id"]) for batch in batches for row in batch.stories)
        traces = StoryTraces(spans, None)  # type: ignore[arg-type]  # it reads the store for deliveries alone
        begun = time.process_time()
        for batch in batches:
            traces.stored(Taken(), batch, 0.01)
            time.sleep(0.02)  # the exporter's thread keeps up, as beside an encoder
        while packed.count < SPANS * wanted - AT_ONCE:  # less than a request waits for more
            time.sleep(0.01)
        spans.close()
        if packed.count != SPANS * wanted:
            raise SystemExit(f"{packed.count} of {SPANS * wanted} spans were packed")
        found[str(share)] = round(1e6 * (time.process_time() - begun) / (BATCHES * STORIES), 1)
    return {"stories": BATCHES * STORIES, "spans_a_story": SPANS, "microseconds_a_story_by_share": found}


if __name__ == "__main__":
    parser(__doc__).parse_args()
    print(json.dumps(record("tracing", "python -m benchmarks.tracing", measure()), indent=2))
