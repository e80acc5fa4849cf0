"""Small ways in which a file, a feed or a name could hide, merge, steer or outgrow something; each as a whole kind."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.analysis.feed_check import check
from foreshock.cli import main, output
from foreshock.dashboard import export, text
from foreshock.ingest.dates import FORMS, date_form
from foreshock.ingest.formats import open_format
from foreshock.ingest.parsing import ParseRules
from foreshock.ingest.stray_quotes import are_rows_alone
from foreshock.model.errors import ModelError
from foreshock.model.storage import open_weights
from foreshock.monitor.errors import StoreError
from foreshock.monitor.kinds import quoted
from foreshock.monitor.store import integrity, open_store
from foreshock.monitor.store.database import connect, writing
from foreshock.settings.load import SettingsError, load

# Stray quotes.

words = st.text("abcdefgh 5%", min_size=1, max_size=12).map(lambda t: f"x{t}".strip())


@settings(max_examples=300)
@given(st.lists(words, min_size=4, max_size=12), st.data())
def test_two_stray_quotes_merge_no_rows_in_silence(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str], data: st.DataObject
) -> None:
    """Invariant: each row of the file is a record, or the file's dead letters name the row that is lost."""
    first, last = sorted(data.draw(st.lists(st.integers(0, len(titles) - 1), min_size=2, max_size=2, unique=True)))
    rows = [[str(n), title, f"2026-03-02T10:{n:02}:00Z", "wire"] for n, title in enumerate(titles)]
    rows[first][1] = '"' + rows[first][1]
    rows[last][1] += '"'
    file = tmp_path_factory.mktemp("quotes") / "news.csv"
    file.write_text("id,title,published_at,source\n" + "".join(",".join(row) + "\n" for row in rows))
    records = list(open_format(file).records())
    assert len(records) == len(rows)
    assert [record.flaw is not None for record in records] == [n == first for n in range(len(rows))]
    assert f"line {first + 2} " in (records[first].flaw or ("", ""))[1]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=40),
            st.text('ab1, \n"0123456789-', max_size=60),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_valid_rows_with_line_breaks_stay_whole(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "title", "published_at", "body"])
    for n, (title, body) in enumerate(cells):
        writer.writerow([f"s{n}", title, "2026-03-02T10:00:00Z", body])
    file = tmp_path_factory.mktemp("valid") / "news.csv"
    file.write_text(out.getvalue(), encoding="utf-8", newline="")
    records = list(open_format(file).records())
    assert [record.flaw for record in records] == [None] * len(cells)
    read = [json.loads(record.data) for record in records]
    assert [(row.get("title", ""), row.get("body", "")) for row in read] == cells


def test_a_text_whose_lines_have_commas_is_no_list_of_rows() -> None:
    columns = ("id", "body", "published_at")
    assert not are_rows_alone(b'1,"one, two\nthree, four",2026-03-02T10:00:00Z', ",", columns)
    assert are_rows_alone(b'1,"one,2026-03-02T10:00:00Z\n2,two",2026-03-02T10:01:00Z', ",", columns)


# `check` never fails over what a file holds.


@given(st.one_of(st.text(max_size=30), st.text("\x1c\x1d\x1e\x1f \u2003\u00850123456789.-+eE_", max_size=20)))
def test_every_text_has_a_form_of_date(value: str) -> None:
    assert date_form(value) in FORMS


def test_check_reads_a_number_behind_a_separator(tmp_path: Path) -> None:
    file = tmp_path / "news.jsonl"
    file.write_text(json.dumps({"title": "Bank falls", "published_at": "\x1d1700000000"}) + "\n")
    assert check(file, ParseRules()).records == 1


def test_a_parquet_file_that_arrow_calls_invalid_is_reported_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "news.parquet"
    pq.write_table(pa.table({"title": ["Bank falls"] * 100, "published_at": ["2026-03-02T10:00:00Z"] * 100}), file)
    for error in (pa.ArrowInvalid("Page was larger than expected"), pa.ArrowNotImplementedError("no such codec")):

        def fails(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", fails)
        assert "is damaged" in (check(file, ParseRules()).broken or "")


# NUL.

NULS = [
    '[store]\nurl = "sqlite:///a\\u0000b.db"',
    '[store]\nurl = "postgresql://me@x/y"\npassword_file = "a\\u0000b"',
    '[watchlist]\nfile = "a\\u0000b"',
    '[model]\nweights = "a\\u0000b"',
    '[[feeds]]\nfile = "a\\u0000b"',
    '[[webhooks]]\nname = "x"\nurl = "https://x.example/"\nsecrets_file = "a\\u0000b"',
    '[kafka]\nssl_cafile = "a\\u0000b"',
    '[[topics]]\nname = "oil"\nnames = ["a\\u0000b"]',
]


@pytest.mark.parametrize("toml", NULS)
def test_a_nul_in_a_setting_is_refused_with_its_name(toml: str, tmp_path: Path) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text(toml)
    with pytest.raises(SettingsError, match=r"foreshock.toml: .*holds a NUL character"):
        load(file, environ={})
    with pytest.raises(SettingsError, match=r"FORESHOCK_WATCHLIST: watchlist.file.*NUL"):
        load(None, environ={"FORESHOCK_WATCHLIST": '{"file": "a\\u0000b"}'})


# What the command line prints.

_HOSTILE = (
    "\x1b\x07\x08\r\x7f\x80\x85\x90\x9b\x9d\u061c\u200b\u200e\u200f\u2028\u202a\u202e\u2066\u2069\ufeff\U000e0041"
)
STEERING = st.text(st.sampled_from(_HOSTILE + 'ab,"= '), max_size=20)
_RANGES = ((0, 32), (127, 160), (0x200B, 0x2010), (0x2028, 0x202F), (0x2060, 0x2070), (0xE0000, 0xE0080))
UNFIT = {0x61C, 0xFEFF, *(code for first, end in _RANGES for code in range(first, end))} - {ord("\n")}


@given(STEERING)
def test_no_text_steers_the_terminal(hostile: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        output.print_text(hostile)
        output.note(hostile)
        output.print_table(("topic",), [(hostile,)])
        output.print_json({"topic": hostile, hostile: 1})
        output.print_csv([{"topic": hostile, "polarity": -0.5}])
    assert not {ord(character) for character in out.getvalue() + err.getvalue()} & UNFIT
    line = next(line for line in out.getvalue().split("\n") if line.startswith('{"topic":'))
    assert json.loads(line)["topic"] == hostile, "JSON keeps the value"


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_no_cell_of_csv_is_a_formula_and_numbers_stay_numbers(texts: list[str]) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        output.print_csv({"topic": text, "polarity": -0.25, "stories": 3} for text in texts)
    for row in list(csv.reader(io.StringIO(out.getvalue())))[1:]:
        assert not row[0].lstrip().startswith(("=", "+", "-", "@"))
        assert row[1:] == ["-0.25", "3"]


def test_series_guards_formulas(tmp_path: Path, quick_scorer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from foreshock.monitor.settings import StoreSettings
    from foreshock.processes.replay import replay
    from foreshock.settings.models import Settings

    topic = '=HYPERLINK("http://evil.example","x")'
    feed = tmp_path / "news.jsonl"
    feed.write_text(
        "".join(
            json.dumps(
                {"id": str(n), "title": f"Bank {n}", "topics": [topic], "published_at": f"2026-03-02T10:{n:02}:00Z"}
            )
            + "\n"
            for n in range(30)
        )
    )
    url = f"sqlite:///{tmp_path / 'news.db'}"
    replay(
        Settings.model_validate({"store": StoreSettings(url=url), "watchlist": {"defaults": False}}),
        [feed],
        scorer=quick_scorer,
    )
    assert main(["series", topic, "--csv", "--store", url]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows
    assert {row["topic"] for row in rows} == {"'" + topic}


# Weight.


def test_a_page_of_long_urls_is_light() -> None:
    from foreshock.dashboard import markup

    url = "https://example.com/" + "x" * 1_000_000
    assert not text.is_web(url)
    assert text.is_web("https://example.com/" + "x" * 1_900)
    shown = markup.environment().from_string('{% import "parts.html" as parts %}{{ parts.headline(title, url) }}')
    page = "".join(shown.render(title="Bank" * 250_000, url=url) for _ in range(50))
    assert len(page) < 50_000
    assert len(export.to_csv(["title", "url"], [["Bank" * 250_000, url]] * 50)) < 1_000_000


def test_an_architecture_that_its_tensors_cannot_fill_is_refused_before_it_is_built(tmp_path: Path) -> None:
    import shutil

    from foreshock.model.storage import SHIPPED

    shutil.copytree(SHIPPED / "permissive", tmp_path / "w")
    for name in os.listdir(SHIPPED):
        if (SHIPPED / name).is_file():
            shutil.copy(SHIPPED / name, tmp_path)
    card = json.loads((tmp_path / "w" / "model.json").read_text())
    open_weights(str(tmp_path / "w"))
    good = card["architecture"]
    for size in good:
        for value in (1e6, 10**6, 10**12, 0, -1, "6", None, True, [6], 60_000):
            if size in ("vocabulary", "positions") and value in (10**6, 60_000):
                continue
            card["architecture"] = {**good, size: value}
            (tmp_path / "w" / "model.json").write_text(json.dumps(card))
            with pytest.raises(ModelError, match="architecture"):
                open_weights(str(tmp_path / "w"))
    unusable: list[Any] = [None, [], {}, {**good, "more": 1}, {**good, "heads": 7}, {**good, "vocabulary": 1_000_000}]
    for wrong in unusable:
        card["architecture"] = wrong
        (tmp_path / "w" / "model.json").write_text(json.dumps(card))
        with pytest.raises(ModelError, match="architecture"):
            open_weights(str(tmp_path / "w"))


# Files that change under a command.


def filled(path: Path, rows: int = 400) -> str:
    url = f"sqlite:///{path}"
    engine = connect(url, create=True)
    columns = "number, at, action, by, note, alert_id, topic, until"
    row = f"INSERT INTO desk_actions ({columns}) VALUES (?, ?, 'acknowledge', 'Ada', ?, 'a', NULL, NULL)"
    with writing(engine) as connection:
        for n in range(rows):
            connection.exec_driver_sql(row, (n, n, "x" * 500))
    engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return url


def test_doctor_finds_zeroed_pages_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = filled(tmp_path / "whole.db")
    found = integrity.check(open_store(whole).engine)
    assert found is not None
    assert (found.finished, found.damage) == (True, ())
    main(["doctor", "--store", whole])
    assert "integrity  ok (quick check" in capsys.readouterr().out
    size = (tmp_path / "whole.db").stat().st_size
    for page in range(2, size // 4096, max(1, size // 4096 // 8)):
        path = tmp_path / f"page{page}.db"
        data = bytearray((tmp_path / "whole.db").read_bytes())
        data[page * 4096 : (page + 1) * 4096] = bytes(4096)
        path.write_bytes(data)
        assert main(["doctor", "--store", f"sqlite:///{path}"]) == 1, page
        out = capsys.readouterr().out
        assert "damaged" in out or "malformed" in out
        assert "restore it from a backup" in out


def test_a_check_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    found = integrity.check(open_store(filled(tmp_path / "s.db", 5_000)).engine, patience=-1.0)
    assert found is not None
    assert not found.finished


@pytest.mark.parametrize("then", ["removed", "replaced"])
def test_a_store_that_goes_during_a_replay_is_an_error(then: str, tmp_path: Path, quick_scorer: Any) -> None:
    from foreshock.monitor.settings import StoreSettings
    from foreshock.processes.replay import replay
    from foreshock.settings.models import Settings

    feed, store = tmp_path / "news.jsonl", tmp_path / "news.db"
    with feed.open("w") as file:
        for n in range(20_000):
            file.write(json.dumps({"id": str(n), "title": f"Bank {n}", "published_at": 1_700_000_000 + 30 * n}) + "\n")
    gone = threading.Event()

    def on_progress(*_: Any) -> None:
        if not gone.is_set() and store.exists():
            store.unlink()
            if then == "replaced":
                store.write_bytes(b"")
            gone.set()

    wanted = Settings.model_validate(
        {"store": StoreSettings(url=f"sqlite:///{store}"), "watchlist": {"defaults": False}}
    )
    with pytest.raises(StoreError, match=then) as caught:
        replay(wanted, [feed], scorer=quick_scorer, on_progress=on_progress)
    assert gone.is_set()
    assert caught.value.exit_code == 1


def test_a_link_at_the_place_of_a_half_written_file_is_not_followed(tmp_path: Path) -> None:
    from foreshock.analysis.score_file import _written

    victim, target = tmp_path / "victim", tmp_path / "scored.csv"
    victim.write_text("precious")
    (tmp_path / ".scored.csv.part").symlink_to(victim)
    with _written(target) as out:
        out.write(b"scored")
    assert victim.read_text() == "precious"
    assert target.read_bytes() == b"scored"
    assert not target.is_symlink()


# Names.


@given(st.text(max_size=60))
def test_a_topics_name_cannot_continue_a_sentence(name: str) -> None:
    """Invariant: what is not a plain name stands between quotation marks, and holds none itself."""
    said = quoted(name)
    inner = said[1:-1] if said.startswith("“") else said
    assert not set(inner) & set('“”"\n\r\u202e\u2028\x00')
    if said == inner:
        assert not set(said) & set(".;:!?,()[]<>*_`|#@\\") - set(".")
        assert ". " not in said
        assert len(said.split()) <= 4
    else:
        assert said.endswith("”")


@pytest.mark.parametrize(
    "name",
    [
        "Deutsche Bank",
        "oil",
        "AT&T",
        "S&P 500",
        "Moody's",
        "Coca-Cola",
        "Amazon.com".replace(".com", ""),
        "Société Générale",
        "日本銀行",
    ],
)
def test_ordinary_names_stand_without_quotes(name: str) -> None:
    assert quoted(name) == name


def test_subjects_and_sentences_quote_a_name_that_is_a_sentence() -> None:
    from foreshock.monitor.delivery.messages import _topic
    from foreshock.monitor.delivery.notice import SAMPLE_ALERT, Notice

    topic = "Banks resolved. No action needed; gold"
    notice = Notice("id", "firing", 0, {**SAMPLE_ALERT, "topic": topic}, None)
    assert _topic(notice) == f"“{topic}”"
