"""Send OpenTelemetry spans that follow a story by its id, from process to process.

The processes meet only in the store, and no table holds a trace. So a story's trace id is a hash of its id, and the
root span of a record is a hash of the record's position. Whoever sees the story or the record finds both: all spans of
a story are in one trace, whichever process sent them, and a share of all traces is the same stories everywhere.

Nothing here is imported by a process without `[traces] url`.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

from foreshock import __version__
from foreshock.observability import metrics
from foreshock.observability.log import hidden, log
from foreshock.observability.trace_settings import TraceSettings

Position = tuple[str, int]
"""(partition, offset): identifies a record."""
Took = tuple[int, int]
"""From when until when a step took, in nanoseconds since 1970."""

QUEUE = 65_536
"""The most spans that wait to be sent. Beyond them, the oldest are dropped: tracing never holds a process up."""
AT_ONCE = 2_048
"""Spans in one request."""
TIMEOUT_SECONDS = 5
"""How long a collector may take to answer, its repetitions included."""
LAST_SPANS_SECONDS = 3.0
"""How long a stopping process waits for its last spans to be sent."""


def trace_of(story: str) -> int:
    """Return the trace id of a story, from its id."""
    return int.from_bytes(sha256(f"foreshock story\n{story}".encode()).digest()[:16]) or 1


def root_of(position: Position) -> int:
    """Return the id of the root span of a record, from its position."""
    return int.from_bytes(sha256(f"foreshock record\n{position[0]}\n{position[1]}".encode()).digest()[:8]) or 1


class Spans:
    """Makes and sends the spans of one process.

    Parameters:
        process: `run`, `worker` or `monitor`.
        share: of all stories, 0 to 1. The others have no span in any process.
        exporter: where spans go; tests keep them in memory.
    """

    def __init__(self, exporter: SpanExporter, *, process: str, share: float = 1.0) -> None:
        self._bound = TraceIdRatioBased.get_bound_for_rate(share)
        self._ids = _Ids()
        resource = {
            "service.namespace": "foreshock",
            "service.name": f"foreshock-{process}",
            "service.version": __version__,
            "service.instance.id": f"{platform.node()}-{os.getpid()}",
        }
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(resource), shutdown_on_exit=False, id_generator=self._ids
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(_Counted(exporter), max_queue_size=QUEUE, max_export_batch_size=AT_ONCE)
        )
        self._tracer = self._provider.get_tracer("foreshock")

    def wants(self, story: str) -> bool:
        """Return whether a story is of the share that is traced."""
        return trace_of(story) & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound

    def root(self, name: str, story: str, position: Position, took: Took, more: Mapping[str, Any]) -> None:
        """Send the first span of a record. At most once for a record: its id follows from the position."""
        metrics.spans("made", 1)
        self._ids.given = trace_of(story), root_of(position)
        try:
            span = self._tracer.start_span(name, attributes=_told(story, position, more), start_time=took[0])
        finally:
            self._ids.given = None
        span.end(took[1])

    def child(
        self, name: str, story: str, position: Position, took: Took, more: Mapping[str, Any], error: str | None = None
    ) -> None:
        """Send a span below the record's first one, which any process may have sent. `error`: why the step failed."""
        metrics.spans("made", 1)
        parent = SpanContext(trace_of(story), root_of(position), True, TraceFlags(TraceFlags.SAMPLED))
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(NonRecordingSpan(parent)),
            attributes=_told(story, position, more),
            start_time=took[0],
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, hidden(error)))
        span.end(took[1])

    def close(self) -> None:
        """Send what waits, for at most `LAST_SPANS_SECONDS`: a collector that is away must not hold up a stop."""
        thread = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        thread.start()
        thread.join(LAST_SPANS_SECONDS)


def to_collector(settings: TraceSettings) -> SpanExporter:
    """Return what sends spans to the settings' collector, as OTLP over HTTP."""
    assert settings.url is not None
    # It warns at each failure; `_Counted` does once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OTLPSpanExporter(
        settings.url.get_secret_value(),
        headers=settings.sent_headers,
        timeout=TIMEOUT_SECONDS,
        compression=Compression.Gzip,
    )


class _Ids(RandomIdGenerator):
    """Gives a root span the ids in `given`, and all others random ones. Each thread has its own `given`."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def given(self) -> tuple[int, int] | None:
        return getattr(self._local, "given", None)

    @given.setter
    def given(self, ids: tuple[int, int] | None) -> None:
        self._local.given = ids

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.given is None else self.given[0]

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self.given is None else self.given[1]


class _Counted(SpanExporter):
    """Counts what another exporter sends, and logs once when it fails and once when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        with suppress(Exception):  # whatever is wrong with a collector is no matter of the news
            result = self._exporter.export(spans)
        sent = result is SpanExportResult.SUCCESS
        metrics.spans("sent" if sent else "failed", len(spans))
        if sent == self._fails:
            self._fails = not sent
            if sent:
                log().info("the collector of traces takes spans again")
            else:
                log().warning("the collector of traces takes no spans: they are lost until it does")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _told(story: str, position: Position, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span, without secrets and without what is None."""
    found = {"foreshock.story": story, "foreshock.partition": position[0], "foreshock.offset": position[1]}
    found |= {f"foreshock.{name}": value for name, value in more.items() if value is not None}
    return dict(hidden(found))
