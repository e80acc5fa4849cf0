"""Traces: a story's steps are one trace by its id, in every process; a collector that is away costs nothing else."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from delivering import Inbox
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import REGISTRY
from servers import wait_until
from structlog.testing import capture_logs

from foreshock.ingest import redaction
from foreshock.monitor.errors import Undelivered
from foreshock.monitor.units import DAY
from foreshock.observability import tracing
from foreshock.observability.trace_settings import TraceSettings
from foreshock.observability.tracing import Spans, root_of, trace_of
from foreshock.processes.run import run
from foreshock.settings.load import SettingsError, load

COLLECTOR = "http://127.0.0.1:4318/v1/traces"
TRACED: dict[str, Any] = {"traces.url": COLLECTOR}
SECRET = "whsec_cmVwbGFjZSB0aGlzIHdpdGggeW91ciBvd24gc2VjcmV0"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Takes the spans in place of a collector, from one process after the other."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(exporter, "shutdown", lambda: None)
    monkeypatch.setattr(tracing, "to_collector", lambda _: exporter)
    return exporter


def attribute(span: ReadableSpan, name: str) -> Any:
    assert span.attributes is not None
    return span.attributes.get(f"foreshock.{name}")


def critical_feed(path: Path) -> None:
    """Write a story that fires at once, a plain one, and the first one again."""
    now = time.time()
    bad = {"negative": 0.97, "neutral": 0.03, "positive": 0.0}
    rows: list[dict[str, Any]] = [
        {"id": "bad", "title": "Acme files for bankruptcy", "published_at": now - 40, "source": "a", "scores": bad},
        {"id": "plain", "title": "Acme opens an office in Leeds", "published_at": now - 30, "source": "b"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))


def read(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch, desk: Inbox, *, days: int = 0, **more: Any
) -> None:
    """Run over a feed with a critical story, with one receiver; `days` later, when its bucket has closed."""
    if not (tmp_path / "live.jsonl").exists():
        critical_feed(tmp_path / "live.jsonl")
    monkeypatch.setattr("foreshock.monitor.delivery.receivers", lambda *_: [desk])
    flags: dict[str, Any] = {
        "store.url": f"sqlite:///{tmp_path / 's.db'}",
        "feeds": [{"file": str(tmp_path / "live.jsonl")}],
        "metrics.listen": "",
        "watchlist.defaults": False,
        "topics": [{"name": "Acme", "names": ["Acme"]}],
        "webhooks": [{"name": desk.name, "url": "https://example.com/hook", "secrets": [SECRET]}],
        **more,
    }
    now = time.time_ns() // 1_000 + days * DAY
    run(load(None, flags=flags, environ={}).settings, until_end=True, scorer=quick_scorer, clock=lambda: now)


def test_the_steps_of_a_story_are_one_trace_from_reading_to_the_message(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch, sent: InMemorySpanExporter
) -> None:
    desk = Inbox("desk")
    for days in (0, 1):
        read(tmp_path, quick_scorer, monkeypatch, desk, days=days, **TRACED)
    assert desk.heard()
    spans = [span for span in sent.get_finished_spans() if attribute(span, "story") == "bad"]
    assert {span.context.trace_id for span in spans if span.context} == {trace_of("bad")}
    first = [span for span in spans if attribute(span, "offset") == 0]
    assert {"read", "score", "store", "decide", "deliver"} == {span.name for span in first}
    (root,) = [span for span in first if span.parent is None]
    assert (root.name, root.context.span_id if root.context else 0) == ("read", root_of(("live.jsonl", 0)))
    assert {span.parent.span_id for span in first if span.parent} == {root_of(("live.jsonl", 0))}
    assert all(span.start_time and span.end_time and span.start_time <= span.end_time for span in spans)
    begun = {span.name: span.start_time or 0 for span in reversed(first)}
    assert begun["read"] <= begun["score"] <= begun["store"] <= begun["deliver"]
    scored = next(span for span in first if span.name == "score")
    assert (attribute(scored, "model"), attribute(scored, "topics")) == ("feed", ("Acme",))
    told = [span for span in spans if span.name == "deliver"]
    assert {(attribute(span, "receiver"), attribute(span, "offset")) for span in told} == {("desk", 0)}
    again = [span for span in spans if attribute(span, "offset") == 2]
    assert {span.name for span in again} == {"read", "score", "store", "decide"}
    assert {attribute(span, "counts_as") for span in again} == {None, "duplicate"}
    plain = [span for span in sent.get_finished_spans() if attribute(span, "story") == "plain"]
    assert {span.context.trace_id for span in plain if span.context} == {trace_of("plain")}
    assert "bankruptcy" not in "".join(span.to_json() for span in sent.get_finished_spans())
    assert {span.resource.attributes["service.name"] for span in spans} == {"foreshock-run"}


def test_a_failed_attempt_is_an_error_without_secrets(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch, sent: InMemorySpanExporter
) -> None:
    redaction.remember_value("s3cret-of-the-desk")
    desk = Inbox("desk")
    desk.fails = Undelivered("answered 400 to s3cret-of-the-desk", status=400, final=True)
    read(tmp_path, quick_scorer, monkeypatch, desk, **TRACED)
    failed = [span for span in sent.get_finished_spans() if span.name == "deliver"]
    assert failed
    assert {span.status.status_code for span in failed} == {StatusCode.ERROR}
    assert "answered 400" in (failed[0].status.description or "")
    assert "s3cret" not in failed[0].to_json()


def test_without_a_collector_nothing_is_made_and_opentelemetry_is_not_imported(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch, sent: InMemorySpanExporter
) -> None:
    read(tmp_path, quick_scorer, monkeypatch, Inbox("desk"))
    assert sent.get_finished_spans() == ()
    code = (
        "import sys, foreshock.cli.app, foreshock.processes.run, foreshock.processes.work, foreshock.processes.monitor;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_two_processes_trace_the_same_share_of_stories() -> None:
    ids = [f"story {number}" for number in range(2_000)]

    def traced(process: str, share: float) -> set[str]:
        spans = Spans(InMemorySpanExporter(), process=process, share=share)
        try:
            return {story for story in ids if spans.wants(story)}
        finally:
            spans.close()

    quarter = traced("worker", 0.25)
    assert quarter == traced("monitor", 0.25)
    assert 400 < len(quarter) < 600
    assert quarter < traced("worker", 0.5)
    assert traced("worker", 0.0) == set()
    assert traced("worker", 1.0) == set(ids)


def test_the_ids_of_traces_never_change() -> None:
    """A worker of one version and a monitor of the next one must agree."""
    assert f"{trace_of('one'):032x}" == "cde07ac934a27dfe7162e4d566d39a1d"
    assert f"{root_of(('news-0', 7)):016x}" == "cb81905ee268da4a"


def test_a_collector_gets_spans_as_otlp_over_http_with_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_KEY", "key-of-the-collector")
    asked: list[tuple[str, str | None, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, self.headers["Authorization"], gzip.decompress(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        given = {
            "url": f"http://127.0.0.1:{server.server_port}/v1/traces",
            "headers": {"Authorization": "Bearer ${COLLECTOR_KEY}"},
        }
        spans = Spans(tracing.to_collector(TraceSettings.model_validate(given)), process="monitor")
        spans.child("decide", "s1", ("news-0", 7), (1_000, 2_000), {"counts_as": "scored", "of": None})
        spans.close()
    finally:
        server.shutdown()
        server.server_close()
    ((path, key, body),) = asked
    assert (path, key) == ("/v1/traces", "Bearer key-of-the-collector")
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert span.trace_id.hex() == f"{trace_of('s1'):032x}"
    assert span.parent_span_id.hex() == f"{root_of(('news-0', 7)):016x}"
    found = {one.key: one.value.string_value for one in span.attributes}
    assert (found["foreshock.story"], found["foreshock.counts_as"]) == ("s1", "scored")
    assert "foreshock.of" not in found


def test_spans_that_a_collector_does_not_take_are_counted_and_logged_once() -> None:
    exporter = tracing.to_collector(TraceSettings.model_validate({"url": "http://127.0.0.1:9/v1/traces"}))
    before = _count("failed")
    with capture_logs() as lines:
        spans = Spans(exporter, process="worker")
        for number in range(3):
            spans.root("read", f"s{number}", ("news-0", number), (1, 2), {})
        begun = time.monotonic()
        spans.close()
        assert time.monotonic() - begun < tracing.LAST_SPANS_SECONDS + 1
        wait_until(lambda: _count("failed") > before, "the spans are counted", 10)
    said = [line["event"] for line in lines]
    assert said == ["the collector of traces takes no spans: they are lost until it does"]


def test_a_collector_that_works_again_is_logged_once() -> None:
    class Flaky(InMemorySpanExporter):
        broken = True

        def export(self, spans: Any) -> Any:
            if self.broken:
                raise ConnectionError("away")
            return super().export(spans)

    flaky = Flaky()
    counted = tracing._Counted(flaky)
    with capture_logs() as lines:
        for broken in (True, True, False, False):
            flaky.broken = broken
            counted.export([])
    assert [line["log_level"] for line in lines] == ["warning", "info"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "ftp://example.com/v1/traces"}, "expected http"),
        ({"url": "http://example.com:0/v1/traces"}, "expected http"),
        ({"url": "http://example.com:4318"}, "path is missing"),
        ({"url": "http://me:secret@example.com:4318/v1/traces"}, "use headers"),
        ({"url": COLLECTOR, "share": 1.5}, "share"),
        ({"url": COLLECTOR, "headers": {"A": "${NOWHERE_SET}"}}, "NOWHERE_SET"),
        ({"url": COLLECTOR, "headers_file": "missing.txt"}, r"missing\.txt cannot be read"),
        ({"address": COLLECTOR}, "address"),
    ],
)
def test_settings_of_traces_that_cannot_be_used_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(None, flags={f"traces.{name}": value for name, value in settings.items()}, environ={})


def test_tracing_without_its_extra_names_what_to_install(
    tmp_path: Path, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "foreshock.observability.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"foreshock\[otel\]"):
        read(tmp_path, quick_scorer, monkeypatch, Inbox("desk"), **TRACED)


def _count(result: str) -> float:
    return REGISTRY.get_sample_value("foreshock_spans_total", {"result": result}) or 0.0
