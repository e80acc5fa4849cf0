"""`make audit` never says that nothing is known where nothing was asked."""

from __future__ import annotations

import json

import audit
import pytest

CLEAN = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code"),
    [
        ([CLEAN], 0),
        ([CLEAN, BAD], audit.VULNERABLE),
        ([BAD, SKIPPED], audit.VULNERABLE),
        ([CLEAN, SKIPPED], audit.NOT_CHECKED),
        ([SKIPPED], audit.NOT_CHECKED),
        ([], audit.NOT_CHECKED),
    ],
)
def test_only_a_whole_answer_is_a_clean_one(packages: list[object], code: int) -> None:
    assert audit.verdict(json.dumps({"dependencies": packages}), "")[0] == code


@pytest.mark.parametrize("report", ["", "no JSON", "[]", "{}"])
def test_a_database_that_does_not_answer_is_said(report: str) -> None:
    code, said = audit.verdict(report, "ERROR: ServiceError: Failed to resolve pypi.org")
    assert code == audit.NOT_CHECKED
    assert said.startswith("NOT CHECKED")
    assert "Failed to resolve" in said or report
