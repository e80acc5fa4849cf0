"""The command line: exit codes, messages, and the packages that it must not import."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foreshock.cli import main
from foreshock.cli.app import app

pytestmark = pytest.mark.slow

COMMANDS = [
    "check", "replay", "score", "serve", "stories", "series", "topics add-name", "topics list", "topics try",
    "alerts list", "deadletters list", "deadletters replay", "model pretrain", "model switch", "model teach",
    "model finetune", "model evaluate", "model bench", "model export",
    "demo", "doctor", "config init",
    "config check", "config show", "alerts why", "alerts ack", "alerts silence", "alerts resend", "alerts test",
    "run", "worker", "monitor", "dashboard", "backtest", "power", "routes test", "sources list", "sources leave",
    "feeds try", "alerts feedback", "incidents list", "incidents show",
    "critical try", "alerts pack", "alerts verify", "model adapt", "model compare",
    "store backup", "store check", "store restore", "store stats", "store vacuum",
]  # fmt: skip
# These show something elsewhere than on stdout, or do something and report nothing.
WITHOUT_JSON = {
    "store backup",
    "store restore",
    "store vacuum",
    "serve",
    "demo",
    "score",
    "config init",
    "alerts ack",
    "alerts silence",
    "alerts pack",
    "alerts resend",
    "sources leave",
    "monitor",
    "dashboard",
}
READERS = [
    ["series", "oil"],
    ["stories"],
    ["topics", "list"],
    ["topics", "try", "Oil"],
    ["alerts", "list"],
    ["critical", "try"],
    ["alerts", "pack", "4a00", "--out", "alert.zip"],
    ["deadletters", "list"],
    ["sources", "list"],
]
HEAVY = {"openvino", "torch", "transformers", "streamlit", "pandas", "pyarrow", "sqlalchemy", "river"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for name in list(os.environ):
        if name.startswith("FORESHOCK_"):
            monkeypatch.delenv(name)


def foreshock(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "foreshock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def test_every_command_is_there_and_has_json_if_it_reports():
    """What its help says is tested in test_docs.py."""
    import typer

    for name in COMMANDS:
        command: Any = typer.main.get_command(app)
        for part in name.split():
            command = command.commands[part]
        options = {option for param in command.params for option in param.opts}
        assert ("--json" in options) == (name not in WITHOUT_JSON), name


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from foreshock.cli import main; main(['--help']); "
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "replay" in done.stdout


@pytest.mark.parametrize(
    ("command", "code_of_it"),
    [
        (["config", "show"], 0),
        (["check", "feed.jsonl"], 0),
        (["model", "adapt", "no.csv", "--out", "desk.json"], 2),  # what is wrong with the file needs no model
    ],
)
def test_a_command_that_neither_scores_nor_stores_imports_no_torch_and_no_sqlalchemy(command, code_of_it):
    Path("feed.jsonl").write_text('{"title": "a", "published_at": "2024-01-01T00:00:00Z"}\n')
    code = (
        f"import sys; from foreshock.cli import main; assert main({command!r}) == {code_of_it}; "
        "heavy = {'torch', 'transformers', 'streamlit', 'pandas', 'sqlalchemy'}; "
        "print(sorted(set(sys.modules) & heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_names_of_the_package_load_on_first_use():
    code = "import foreshock, sys; print(sorted(set(sys.modules) & {'torch', 'pandas', 'sqlalchemy'}), dir(foreshock))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("[] ")
    assert "load_scorer" in shown
    with pytest.raises(AttributeError, match="nothing_such"):
        sys.modules["foreshock"].nothing_such  # noqa: B018


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"foreshock {version('foreshock')}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["series"], ["check", "--nonsense", "f"], ["series", "oil", "--json", "--csv"]]
)
def test_bad_usage_exits_2(arguments, capsys):
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--every", "--start"])
def test_a_bad_duration_or_time_exits_2_and_names_the_option(option, capsys):
    assert main(["series", "oil", option, "soon"]) == 2
    assert option in capsys.readouterr().err


def test_a_missing_file_exits_2_with_one_sentence(capsys):
    for command in ("check", "score"):
        assert main([command, "nope.csv"]) == 2
        assert capsys.readouterr().err == "foreshock: nope.csv: no such file.\n"


def test_a_replay_of_a_file_that_cannot_be_read_leaves_no_store(capsys):
    Path("odd.csv").write_text("Kopf,Datum\na,b\n")
    for files in (["nope.csv"], ["odd.csv", "nope.csv"], ["odd.csv"]):
        assert main(["replay", *files]) == 2
    assert "no such file" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["odd.csv"]


def test_a_missing_settings_file_exits_2(capsys):
    assert main(["config", "show", "--config", "nope.toml"]) == 2
    assert "nope.toml: no such settings file" in capsys.readouterr().err


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_reading_a_missing_store_exits_2_and_creates_none(command, capsys):
    assert main([*command, "--store", "sqlite:///nope.db"]) == 2
    assert "nope.db" in capsys.readouterr().err
    assert not Path("nope.db").exists()


def test_an_unknown_setting_exits_2_and_names_the_most_similar(capsys):
    Path("foreshock.toml").write_text('[time]\nbuckett = "5m"\n')
    assert main(["config", "check"]) == 2
    shown = capsys.readouterr()
    assert shown.err == "foreshock: foreshock.toml: unknown setting time.buckett; did you mean time.bucket?\n"
    assert shown.out == ""


def test_config_check_reports_what_run_would_refuse(capsys):
    Path("wire.csv").write_text("title,published_at\n")
    Path("foreshock.toml").write_text("""
        [model]
        weights = "permisive"
        [[feeds]]
        file = "none.jsonl"
        [[feeds]]
        file = "wire.csv"
        [[messages]]
        name = "chat"
        apprise_url = "slack://wrong"
    """)
    assert main(["config", "check"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    weights, none, csv_, chat = shown.err.splitlines()
    assert "permisive: no such folder of weights" in weights
    assert weights.endswith("did you mean permissive?")
    assert none == "feeds: none.jsonl: no such file."
    assert "wire.csv: a growing feed file must be uncompressed JSON lines" in csv_
    assert "'chat': apprise cannot use this apprise_url" in chat


def test_config_init_writes_a_file_that_config_check_accepts_and_does_not_replace_it(capsys):
    assert main(["config", "init"]) == 0
    assert main(["config", "check"]) == 0
    before = Path("foreshock.toml").read_text()
    assert main(["config", "init"]) == 2
    assert "--force" in capsys.readouterr().err
    assert Path("foreshock.toml").read_text() == before


def test_config_show_says_where_each_value_comes_from_and_hides_passwords(capsys, monkeypatch):
    monkeypatch.setenv("FORESHOCK_STORE__URL", "postgresql://me:hunter2@host/db")
    Path("foreshock.toml").write_text('[time]\nbucket = "10m"\n')
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["store.url"] == {"value": "postgresql://me:***@host/db", "from": "FORESHOCK_STORE__URL"}
    assert shown["time.bucket"] == {"value": "10m", "from": "foreshock.toml"}
    assert shown["time.lateness"] == {"value": "2m", "from": "default"}
    assert main(["config", "show"]) == 0
    assert "hunter2" not in capsys.readouterr().out


def test_check_prints_one_json_object(capsys):
    Path("feed.csv").write_text("Headline,Date\nProfit falls,2024-01-01T00:00:00Z\n")
    assert main(["check", "feed.csv", "--map", "title=Headline,published_at=Date", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stories"] == 1
    assert main(["check", "feed.csv", "--map", "titel=Headline"]) == 2
    assert "title" in capsys.readouterr().err


def test_check_of_a_truncated_file_exits_1(capsys):
    whole = gzip.compress(b'{"title": "a", "published_at": "2024-01-01T00:00:00Z"}\n' * 500)
    Path("f.jsonl.gz").write_bytes(whole[:-10])
    for options in ([], ["--json"]):
        assert main(["check", "f.jsonl.gz", *options]) == 1
        assert "truncated" in capsys.readouterr().out


def test_check_judges_by_the_settings_and_recommends_a_replay_with_them(capsys):
    rows = (f'{{"title": "a{i}", "published_at": {1e9 + 20 * (i ^ 7)}}}\n' for i in range(16))
    Path("f.jsonl").write_text("".join(rows))
    Path("desk.toml").write_text('[time]\nlateness = "0s"\nmax_staleness = "30s"\n')
    found = []
    for options in ([], ["--config", "desk.toml"]):
        assert main(["check", "f.jsonl", "--json", *options]) == 0
        report = json.loads(capsys.readouterr().out)
        found.append((report["late"], report["stale"], report["command"]))
    assert found == [
        (0, 0, "foreshock replay f.jsonl"),
        (10, 8, "foreshock replay f.jsonl --config desk.toml --sort"),
    ]


def test_check_judges_dates_in_the_future_as_a_replay_does(capsys):
    ahead = time.time() + 7200
    Path("f.jsonl").write_text("".join(f'{{"title": "a", "published_at": {t}}}\n' for t in (1e9, ahead)))
    assert main(["check", "f.jsonl", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["stories"], list(report["dead_letters"])) == (1, ["date_in_future"])


def test_an_unexpected_error_is_one_line_that_says_how_to_get_the_traceback(capsys, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr("foreshock.cli.options.load", broken)
    assert main(["config", "show"]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in shown
    assert "FORESHOCK_TRACEBACK=1" in shown
    assert shown.count("\n") == 1
    monkeypatch.setenv("FORESHOCK_TRACEBACK", "1")
    assert main(["config", "show"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_every_error_class_has_an_exit_code():
    from foreshock.analysis import events, history, power, score_file
    from foreshock.dashboard import errors as dashboard
    from foreshock.ingest import errors as ingest
    from foreshock.model import errors as model
    from foreshock.monitor import errors as monitor
    from foreshock.monitor.topics import rules
    from foreshock.settings import load

    found = {
        kind
        for module in (ingest, model, monitor, rules, dashboard, load, events, history, power, score_file)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == module.__name__
    } - {ingest.BadRecord}  # it never leaves ingest
    assert len(found) > 30
    assert {kind.__name__ for kind in found if getattr(kind, "exit_code", None) not in {1, 2}} == set()


def test_ctrl_c_in_a_command_exits_130(capsys, monkeypatch):
    def stopped(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("foreshock.cli.options.load", stopped)
    assert main(["config", "show"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_ctrl_c_in_a_replay_says_how_to_go_on(capsys, monkeypatch):
    def stopped(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("foreshock.processes.replay.replay", stopped)
    Path("feed.jsonl").write_text('{"title": "a", "published_at": "2024-01-01T00:00:00Z"}\n')
    assert main(["replay", "feed.jsonl"]) == 130
    assert capsys.readouterr().err == "The same command goes on from where this one stopped.\nStopped.\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_while_a_file_is_read_exits_130_without_traceback():
    Path("feed.jsonl").write_text('{"title": "a", "published_at": "2024-01-01T00:00:00Z"}\n' * 500_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "foreshock", "check", "feed.jsonl"], stderr=subprocess.PIPE, text=True
    )
    try:
        opened = Path(f"/proc/{process.pid}/fd")
        for _ in range(200):
            if process.poll() is not None or any(fd.resolve().name == "feed.jsonl" for fd in opened.iterdir()):
                break
            time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert shown == "Stopped.\n"


def test_a_reader_that_closes_the_pipe_is_not_an_error():
    Path("many.toml").write_text("".join(f'[[topics]]\nname = "{i}"\nnames = ["name {i}"]\n' for i in range(20_000)))
    # Less than a buffer comes with the last flush, more while the command runs.
    for arguments in (["config", "show"], ["config", "show", "--json", "--config", "many.toml"]):
        read, write = os.pipe()
        os.close(read)
        done = foreshock_to(write, *arguments)
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "")


def foreshock_to(stdout: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "foreshock", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=120)


def test_control_characters_of_a_headline_do_not_reach_the_terminal(capsys):
    from foreshock.cli import output

    output.print_table(("title",), [["\x1b[2JProfit [bold]falls\x07"]])
    assert capsys.readouterr().out.split("\n")[1].strip() == "[2JProfit [bold]falls"


class LengthScorer:
    """Scores a story by its length: enough to see that rows and scores stay together."""

    def score_stories(self, pairs):
        lengths = [10 * len(title + body) for title, body in pairs]
        return np.array([[length, 5000, 5000 - length] for length in lengths], dtype=np.int64).reshape(-1, 3)

    def score(self, texts, entities=None):
        return self.score_stories([(text, "") for text in texts]).astype(np.float32) / 10_000


@pytest.fixture
def _length_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(load_scorer=lambda **_settings: LengthScorer())
    monkeypatch.setitem(sys.modules, "foreshock.model.scorer", module)


@pytest.mark.usefixtures("_length_scorer")
class TestScore:
    def test_json_lines_come_out_as_json_lines_with_every_row_in_its_place(self, capfdbinary):
        Path("f.jsonl").write_bytes(
            b'{"title": "abc", "x": 1234567890123456789}\nnot json\n'
            b'{"body": "no title"}\n{"headline": "ab", "body": "c"}\n'
        )
        assert main(["score", "f.jsonl"]) == 0
        out, err = capfdbinary.readouterr()
        lines = out.decode().splitlines()
        assert json.loads(lines[0]) == {
            "title": "abc", "x": 1234567890123456789, "negative": 0.003, "neutral": 0.5, "positive": 0.497,
        }  # fmt: skip
        broken = json.loads(lines[1])  # and so the output can be read to its end
        assert (broken["raw"], broken["reason"], broken["negative"]) == ("not json", "bad_json", None)
        assert json.loads(lines[2]) == {"body": "no title", "negative": None, "neutral": None, "positive": None}
        assert json.loads(lines[3])["negative"] == 0.003
        assert b"1 of 4 rows have no text" in err
        assert b"1 of 4 rows cannot be read. The first: f.jsonl, record 1: Not JSON" in err

    def test_a_record_that_is_too_large_comes_out_with_its_reason(self):
        Path("f.jsonl").write_text('{"title": "a"}\n{"title": "b"}' + " " * (1 << 20) + "\n")
        assert main(["score", "f.jsonl", "--output", "out.jsonl"]) == 0
        with Path("out.jsonl").open() as lines:
            assert [json.loads(line).get("reason") for line in lines] == [None, "too_large"]

    def test_explained_json_lines_say_what_each_word_contributes(self, capfdbinary):
        Path("f.jsonl").write_text('{"title": "abcd ef"}\n{"body": "no title"}\n')
        assert main(["score", "f.jsonl", "--explain"]) == 0
        first, second = map(json.loads, capfdbinary.readouterr().out.decode().splitlines())
        # The double's balance falls by two thousandths for each character.
        assert [word for word, _ in first["words"]] == ["abcd", "ef"]
        assert [by for _, by in first["words"]] == pytest.approx([-0.008, -0.004], abs=0.0015)
        assert second["words"] is None
        Path("f.csv").write_text("title\nabc\n")
        assert main(["score", "f.csv", "--explain"]) == 2

    def test_csv_comes_out_as_csv_without_needing_dates(self):
        Path("f.csv").write_text('Headline,n\n"a, b",1\n,2\nccc,3\n')
        assert main(["score", "f.csv", "--map", "title=Headline", "--output", "out.csv.gz"]) == 0
        with gzip.open("out.csv.gz", "rt", newline="") as file:
            rows = list(csv.reader(file))
        assert rows == [
            ["Headline", "n", "negative", "neutral", "positive"],
            ["a, b", "1", "0.004", "0.5", "0.496"],
            ["", "2", "", "", ""],
            ["ccc", "3", "0.003", "0.5", "0.497"],
        ]

    def test_parquet_comes_out_as_parquet_with_its_own_types(self):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"title": ["abc", None, "a"], "at": pa.array([1, 2, 3], pa.timestamp("ns", "UTC"))})
        pq.write_table(table, "f.parquet")
        assert main(["score", "f.parquet"]) == 2
        assert main(["score", "f.parquet", "--output", "out.parquet"]) == 0
        scored = pq.read_table("out.parquet")
        assert scored.select(["title", "at"]).equals(table)
        assert scored["negative"].to_pylist() == pytest.approx([0.003, None, 0.001])

    def test_a_csv_without_a_column_of_text_exits_2_and_lists_its_columns(self, capsys):
        Path("f.csv").write_text("Kopf,Datum\na,b\n")
        assert main(["score", "f.csv"]) == 2
        assert "Kopf, Datum" in capsys.readouterr().err

    def test_a_truncated_file_leaves_no_partial_output(self, capsys):
        whole = gzip.compress(b'{"title": "abc"}\n' * 5000)
        Path("f.jsonl.gz").write_bytes(whole[: len(whole) // 2])
        Path("out.jsonl").write_text("before")
        assert main(["score", "f.jsonl.gz", "--output", "out.jsonl"]) == 1
        assert "truncated" in capsys.readouterr().err
        assert Path("out.jsonl").read_text() == "before"
        assert {path.name for path in Path().iterdir()} == {"f.jsonl.gz", "out.jsonl"}

    def test_python_users_call_the_same_function(self):
        from foreshock.analysis.score_file import OutputRefused, score_file
        from foreshock.settings.models import Settings

        Path("f.jsonl").write_text('{"title": "abc"}\n{"body": "no title"}\n')
        shares: list[float] = []
        scored = score_file(
            Settings(), Path("f.jsonl"), Path("out.jsonl"), on_progress=lambda share, _rows: shares.append(share)
        )
        assert (scored.rows, scored.unscored, shares) == (2, 1, [1.0])
        assert json.loads(Path("out.jsonl").read_text().splitlines()[0])["negative"] == 0.003
        with pytest.raises(OutputRefused, match="the output is the file that is read"):
            score_file(Settings(), Path("f.jsonl"), Path("f.jsonl"))

    def test_the_input_file_is_never_overwritten(self):
        Path("f.jsonl").write_text('{"title": "abc"}\n')
        assert main(["score", "f.jsonl", "--output", "f.jsonl"]) == 2
        assert Path("f.jsonl").read_text() == '{"title": "abc"}\n'


class TestAReplayedFeed:
    """Every reading command after a replay of scored stories, of which one is a dead letter."""

    @pytest.fixture(autouse=True)
    def _replayed(self, capsys):
        story = {"source": "A", "scores": {"negative": 0.6, "neutral": 0.3, "positive": 0.1}}
        with Path("feed.jsonl").open("w") as file:
            for day in range(1, 29):
                own = {"title": f"Oil prices fall on day {day}", "published_at": f"2024-01-{day:02}T12:00:00Z"}
                file.write(json.dumps({**story, **own}) + "\n")
            file.write("not json\n")
        assert main(["replay", "feed.jsonl", "--json"]) == 0
        self.counts = json.loads(capsys.readouterr().out)

    def lines(self, capsys, *arguments: str) -> list[dict]:
        assert main([*arguments, "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def test_replay_prints_the_ends_of_all_records(self, capsys):
        assert {key: self.counts[key] for key in ("stories", "scored", "dead_letters")} == {
            "stories": 28, "scored": 28, "dead_letters": 1,
        }  # fmt: skip
        again = self.lines(capsys, "replay", "feed.jsonl")[0]
        assert {**again, "seconds": 0} == {**self.counts, "seconds": 0}
        assert main(["replay", "feed.jsonl"]) == 0
        shown = capsys.readouterr()
        assert "dead letters" in shown.out
        assert "Nothing was new: feed.jsonl was read to the end before." in shown.err
        with Path("feed.jsonl").open("a") as file:
            file.write("not json either\n")
        assert main(["replay", "feed.jsonl"]) == 0
        assert "Nothing was new" not in capsys.readouterr().err

    def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(self, capsys):
        for arguments, code, meant in (
            (["deadletters", "list", "--reason", "bad_jsn"], 2, "bad_json"),
            (["deadletters", "replay", "--reason", "bad_jsn"], 2, "bad_json"),
            (["stories", "--topic", "oli"], 0, "oil"),
            (["stories", "--source", "a"], 0, "A"),
            (["stories", "--topic", "oli", "--json"], 0, "oil"),
            (["critical", "try", "--topic", "oli"], 0, "oil"),
            (["series", "oli"], 2, "oil"),
            (["sources", "leave", "feed.json"], 2, "feed.jsonl"),
            (["series", "oil", "--tz", "Europe/Lundon"], 2, "Europe/London"),
            (["score", "feed.jsonl", "--weights", "defualt"], 2, "default"),
        ):
            assert main(arguments) == code
            said = " ".join(capsys.readouterr().err.replace("│", "").split())
            assert f"id you mean {meant}?" in said, arguments

    def test_a_configured_topic_without_stories_is_not_called_misspelt(self, capsys):
        Path("eu.toml").write_text('[[topics]]\nname = "oil-eu"\nnames = ["Oil of Europe"]\n')
        for command in (["stories"], ["stories", "--json"]):
            assert main([*command, "--topic", "oil-eu", "--config", "eu.toml"]) == 0
            said = capsys.readouterr().err
            assert "oil-eu: no story yet" in said
            assert "mean" not in said

    @pytest.mark.parametrize(
        ("arguments", "option"),
        [
            ("--tz Europe/London --every 1h", "--every"),
            ("--tz Europe/London --day-ends 25:00", "--day-ends"),
            ("--tz Europe/Lundon --day-ends 16:00", "--tz"),
            ("--exchange XNYS --day-ends 25:00", "--day-ends"),
            ("--exchange XNYS --tz Europe/London", "--tz"),
        ],
    )
    def test_days_that_cannot_be_are_blamed_on_the_option(self, capsys, arguments, option):
        assert main(["series", "oil", *arguments.split()]) == 2
        assert f"Invalid value for {option}:" in capsys.readouterr().err

    def test_series_gives_rows_as_json_csv_and_text(self, capsys):
        rows = self.lines(capsys, "series", "oil", "--every", "1d", "--start", "2024-01-02", "--end", "2024-01-04")
        assert [(row["start"], row["stories"]) for row in rows] == [
            ("2024-01-02T00:00:00Z", 1),
            ("2024-01-03T00:00:00Z", 1),
        ]
        assert main(["series", "oil", "_all", "--csv"]) == 0
        table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert [row["topic"] for row in table] == ["oil"] * 28 + ["_all"] * 28
        assert float(table[0]["polarity"]) == -0.5
        assert main(["series", "oil"]) == 0
        assert "-0.500" in capsys.readouterr().out

    def test_a_step_that_is_not_a_multiple_of_the_bucket_exits_2(self, capsys):
        assert main(["series", "oil", "--every", "7m"]) == 2
        assert "--every" in capsys.readouterr().err

    def test_stories_are_listed_newest_first(self, capsys):
        rows = self.lines(capsys, "stories", "--topic", "oil", "--limit", "2")
        assert [row["title"] for row in rows] == ["Oil prices fall on day 28", "Oil prices fall on day 27"]
        assert main(["stories"]) == 0
        once = capsys.readouterr().out.splitlines()[1:]
        assert len(once) == 10  # the others are within 48 hours, and differ in a number of one digit or two
        assert once[-1].rstrip().endswith("on day 3 (and 2 copies)")
        assert main(["stories", "--copies"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1 + 20

    def test_topics_are_listed_with_their_state(self, capsys):
        rows = {row["topic"]: row for row in self.lines(capsys, "topics", "list")}
        assert rows["oil"]["state"] == "learning"
        assert rows["_all"]["stories"] == 28
        assert main(["topics", "list"]) == 0
        assert "learning until" in capsys.readouterr().out

    def test_a_rule_can_be_tried(self, capsys):
        (result,) = self.lines(capsys, "topics", "try", "oil prices", "--require", "day 28")
        assert (result["matched"], result["stories"]) == (1, 28)
        assert result["newest"][0]["title"] == "Oil prices fall on day 28"
        assert main(["topics", "try", "..."]) == 2
        (result,) = self.lines(capsys, "topics", "try", "--ticker", "OIL")
        assert (result["matched"], result["stories"]) == (0, 28)
        assert main(["topics", "try", "--exclude", "day"]) == 2
        assert "--ticker" in capsys.readouterr().err

    def test_dead_letters_are_listed_and_replayed(self, capsys):
        (letter,) = self.lines(capsys, "deadletters", "list")
        assert (letter["offset"], letter["reason"]) == (28, "bad_json")
        assert self.lines(capsys, "deadletters", "list", "--reason", "no_text") == []
        (result,) = self.lines(capsys, "deadletters", "replay")
        assert result["dead_letters"] == 1

    def test_doctor_sees_the_store(self, capsys):
        main(["doctor", "--json"])
        store = json.loads(capsys.readouterr().out)["store"]
        assert (store["exists"], store["stories"]) == (True, 28)


def test_alerts_say_when_there_are_none(capsys):
    calm = {"source": "A", "scores": {"negative": 0.1, "neutral": 0.8, "positive": 0.1}}
    with Path("feed.jsonl").open("w") as file:
        for day in range(1, 29):
            own = {"title": f"Oil prices on day {day}", "published_at": f"2024-01-{day:02}T12:00:00Z"}
            file.write(json.dumps({**calm, **own}) + "\n")
    assert main(["replay", "feed.jsonl"]) == 0
    capsys.readouterr()
    assert main(["alerts", "list", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["alerts", "list"]) == 0
    assert "No alerts fired" in capsys.readouterr().err


def test_an_estimate_of_learning_that_has_passed_is_not_shown(capsys):
    story = {"source": "A", "scores": {"negative": 0.6, "neutral": 0.3, "positive": 0.1}}
    with Path("feed.jsonl").open("w") as file:
        for day in range(60):
            own = {"title": f"Day {day}", "published_at": 1_700_000_000 + day * 86_400}
            file.write(json.dumps({**story, **own, "topics": ["rare"] if day < 3 else ["dull"]}) + "\n")
    assert main(["replay", "feed.jsonl", "--json"]) == 0
    capsys.readouterr()
    assert main(["topics", "list", "--json"]) == 0
    rows = {row["topic"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (rows["rare"]["state"], rows["rare"]["until"]) == ("learning", None)
    assert main(["topics", "list"]) == 0
    assert "learning: too few events so far" in capsys.readouterr().out
    main(["doctor", "--json"])
    store = json.loads(capsys.readouterr().out)["store"]
    assert store["false_alarms"]["learning_until"] > store["decided_until"]
    assert main(["power", "rare"]) == 1
    assert "rare is still learning (too few events so far)" in capsys.readouterr().err


def test_all_commands_are_listed_here():
    names = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names += [f"{group.name} {command.name}" for command in group.typer_instance.registered_commands]
    assert sorted(names) == sorted(COMMANDS)


def test_doctor_reports_a_store_that_cannot_be_used(capsys):
    Path("notes.db").write_text("these are not the tables you are looking for" * 100)
    assert main(["doctor", "--store", "sqlite:///notes.db"]) == 1
    shown = capsys.readouterr().out
    assert "sqlite:///notes.db: cannot be used, see below" in shown
    assert "PROBLEM    The store: " in shown
    assert main(["doctor", "--store", "sqlite:///notes.db", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["store"]["exists"] is None


def test_doctor_runs_without_a_store_and_shows_the_licence(capsys):
    assert main(["doctor", "--json", "--store", "sqlite:///nope.db"]) in {0, 1}
    report = json.loads(capsys.readouterr().out)
    assert report["store"]["exists"] is False
    assert report["device"]["used"] in {"cpu", "cuda"}
    assert "non-commercial" in report["model"]["note"]
    assert not Path("nope.db").exists()
