"""Requests that follow from /openapi.json, and such as do not, are answered as it says: never with 500."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient
from test_serve import READER, SCORER, SlowScorer

from foreshock.monitor.store.database import connect
from foreshock.observability import metrics
from foreshock.serving import gate
from foreshock.serving.app import Parts, application
from foreshock.serving.batching import Batcher
from foreshock.serving.events import Watch
from foreshock.serving.keys import Keyring, hashed
from foreshock.serving.settings import KeySettings, ServeSettings
from foreshock.serving.store import ServedStore

EXAMPLES = 20
"""Requests for each path, of each mode: such as follow the schema, and such as do not."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def test_whatever_is_asked_is_answered_as_the_schema_says(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'fuzz.db'}"
    connect(url, create=True).dispose()
    key = READER + SCORER
    keyring = Keyring([KeySettings(name="fuzz", sha256=hashed(key), scopes=("read", "score"))])
    served = ServedStore(url)
    wanted = ServeSettings(requests_per_minute=10_000_000)
    watch = Watch(served, most=10)
    parts = Parts(Batcher(SlowScorer, most_waiting=10_000), served, watch)
    watch.close()  # streams of events end after their first block
    metrics.health.restart()
    app = application(wanted, keyring, parts, failed=lambda error: None)
    with TestClient(app, base_url="http://localhost") as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        found: Any = schema.get_all_operations()
        operations = [operation.ok() for operation in found]
        for operation in operations:
            for mode in GenerationMode:
                _ask(client, operation, mode, key)
    paths = {operation.path for operation in operations}
    assert paths == {*gate.SCOPES, "/healthz", "/readyz"}


def _ask(client: TestClient, operation: Any, mode: GenerationMode, key: str) -> None:
    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck), deadline=None
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.headers["authorization"] = f"Bearer {key}"
        answer = client.request(**case.as_transport_kwargs(base_url="http://localhost"))
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400 and operation.path in gate.SCOPES:
            assert answer.json()["error"].endswith((".", "?"))

    try:
        ask()
    except Unsatisfiable:  # a path without parameters cannot be asked wrongly
        assert mode == GenerationMode.NEGATIVE
