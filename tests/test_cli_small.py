"""Small things that greet a new user: paths as stores, misspelt topics, common words, flags in the help."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from foreshock.cli import logs, main, options, output
from foreshock.cli.config import common_words
from foreshock.monitor.store import open_store
from foreshock.monitor.store.database import connect
from foreshock.observability.log import log
from foreshock.settings.load import load


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def test_a_path_is_a_store() -> None:
    assert options.store_url("desk.db") == "sqlite:///desk.db"
    assert options.store_url("/var/desk.db") == "sqlite:////var/desk.db"
    assert options.store_url("postgresql://host/desk") == "postgresql://host/desk"
    assert options.store_url(None) is None


def test_a_misspelt_topic_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    connect("sqlite:///desk.db", create=True).dispose()
    assert main(["series", "Weftwar", "--store", "desk.db"]) == 2
    assert "there is no topic" in capsys.readouterr().err
    assert main(["series", "inflaton", "--store", "desk.db"]) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert main(["series", "inflation", "--store", "desk.db"]) == 0


def test_a_wrong_choice_is_named_without_words_of_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incidents", "list", "--state", "shut"]) == 2
    said = capsys.readouterr().err
    assert "'--state': 'shut' is not one of 'open', 'ended'." in said
    assert main(["score", "feed.jsonl", "--device", "gpu"]) == 2
    assert capsys.readouterr().err.startswith("foreshock: --device: model.device = 'gpu': ")


def test_topics_are_completed_from_the_settings_and_the_store() -> None:
    connect("sqlite:///foreshock.db", create=True).dispose()
    assert open_store("sqlite:///foreshock.db").topic_names() == []
    assert "inflation" in options.topic_names("infl")
    assert options.topic_names("no such topic") == []


def test_a_file_without_a_usable_record_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n')
    assert main(["check", "bad.jsonl"]) == 1
    (tmp_path / "good.jsonl").write_text(json.dumps({"title": "x", "published_at": "2026-02-02T10:00:00Z"}) + "\n")
    assert main(["check", "good.jsonl"]) == 0
    capsys.readouterr()


def test_a_topic_named_by_a_common_word_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text('[[topics]]\nname = "a"\nnames = ["The", "Acme"]\n')
    (warning,) = common_words(load(file, environ={}).settings)
    assert "'The' is a common word" in warning


def test_flags_are_shown_without_a_type(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["series", "--help"], ["topics", "--help"], ["topics", "try", "--help"]):
        assert main(arguments) == 0
        assert "<bool>" not in capsys.readouterr().out


def test_ctrl_c_leaves_the_progress_bar_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ended(how: type[BaseException] | None) -> str:
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        try:
            with output.progress("replay") as advance:
                advance(0.5, 1.0, "7 records")
                if how:
                    raise how
        except KeyboardInterrupt:
            pass
        return terminal.getvalue()

    erased = "\x1b[2K"
    assert erased not in ended(KeyboardInterrupt).rpartition("7 records")[2]
    assert erased in ended(None).rpartition("7 records")[2]


def test_a_folder_is_replayed_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "two parts"
    folder.mkdir()
    for day in (2, 1):
        (folder / f"{3 - day}.csv").write_text(f"headline,date\nOil falls again,2024-05-0{day}T10:00:00Z\n")
    assert main(["check", str(folder)]) == 0
    shown = capsys.readouterr()
    assert f"merged by time: foreshock replay '{folder}' --map published_at=date" in shown.err
    assert "foreshock replay" not in shown.out, "one after another, the second would come late"
    (folder / "3.csv").write_text("headline,created_at\nOil falls again,2024-05-03T10:00:00Z\n")
    assert main(["check", str(folder)]) == 0
    assert "need different options" in capsys.readouterr().err


def test_a_command_that_speaks_for_itself_logs_errors_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with logs.only_errors():
        log().warning("a source has changed")
        log().error("the store is gone")
    log().warning("afterwards")
    said = capsys.readouterr().err
    assert "a source has changed" not in said
    assert "the store is gone" in said
    assert "afterwards" in said
