"""The settings: their origins, their errors, and the secrets that are never shown."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from foreshock.cli import main
from foreshock.cli.config import unknown_topics
from foreshock.cli.template import EXAMPLES, field_docstrings, template
from foreshock.monitor.settings import TimeSettings, format_duration, parse_duration
from foreshock.settings import models
from foreshock.settings.load import LISTS, SettingsError, keys, load, sections
from foreshock.settings.models import Settings
from foreshock.settings.redact import redacted
from foreshock.settings.versions import in_force, shaping, topic_rules


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def _write(text: str, name: str = "desk.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return Path(name)

    return _write


def error_of(file: Path | None = None, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(file, environ=environ)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_without_a_file_all_is_default(write):
    loaded = load(environ={})
    assert loaded.settings == Settings()
    assert loaded.file is None
    assert loaded.origins == {}
    assert loaded.settings.store.url == "sqlite:///foreshock.db"
    assert loaded.settings.time.bucket == 300_000_000


def test_a_flag_overrides_the_environment_which_overrides_the_file(write):
    file = write('[store]\nurl = "sqlite:///file.db"\n[time]\nbucket = "10m"\nlateness = 30\n')
    environ = {"FORESHOCK_STORE__URL": "sqlite:///env.db", "FORESHOCK_TIME__BUCKET": "15m"}
    loaded = load(file, flags={"store.url": "sqlite:///flag.db"}, environ=environ)
    assert loaded.settings.store.url == "sqlite:///flag.db"
    assert loaded.settings.time.bucket == 900_000_000
    assert loaded.settings.time.lateness == 30_000_000
    assert loaded.origins["store.url"] == "--store"
    assert loaded.origins["time.bucket"] == "FORESHOCK_TIME__BUCKET"
    assert loaded.origins["time.lateness"] == "desk.toml"


def test_the_zone_of_a_preset_comes_from_its_option(write):
    assert load(flags={"time.assume_zone": "UTC"}, environ={}).origins == {"time.assume_zone": "--as"}


def test_foreshock_toml_of_the_folder_is_read_without_being_named(write):
    write('[time]\nbucket = "1h"\n', "foreshock.toml")
    assert load(environ={}).settings.time.bucket == 3_600_000_000


def test_an_empty_variable_sets_nothing(write):
    assert load(environ={"FORESHOCK_STORE__URL": ""}).settings == Settings()


def test_a_table_comes_from_a_variable_as_json(write):
    loaded = load(environ={"FORESHOCK_TIME__ASSUME_ZONE": '{"Reuters": "Europe/London"}'})
    assert loaded.settings.time.assume_zone == {"Reuters": "Europe/London"}
    assert "FORESHOCK_TOPICS" in error_of(FORESHOCK_TOPICS="[{")


@pytest.mark.parametrize(
    ("text", "unknown", "near"),
    [
        ('[time]\nbuckett = "5m"\n', "time.buckett", "time.bucket?"),
        ('[stroe]\nurl = "x"\n', "stroe", "store?"),
        ('url = "x"\n', "url", "store.url?"),
        ('[[topics]]\nname = "a"\nnmaes = ["x"]\n', "topics[1].nmaes", "topics[1].names?"),
        ("[model]\nqqq = 1\n", "model.qqq", "weights"),
    ],
)
def test_an_unknown_setting_is_an_error_that_names_file_key_and_the_nearest_known(write, text, unknown, near):
    message = error_of(write(text))
    assert "desk.toml" in message
    assert f"unknown setting {unknown};" in message
    assert near in message


def test_an_unknown_variable_is_an_error_that_names_it_and_the_nearest_known(write):
    message = error_of(FORESHOCK_TIME__BUCKETT="5m")
    assert "FORESHOCK_TIME__BUCKETT" in message
    assert "did you mean time.bucket?" in message
    assert "FORESHOCK_STORE__URL" in error_of(FORESHOCK_STORE_URL="sqlite:///x.db")
    assert load(environ={"FORESHOCK_TRACEBACK": "1", "FORESHOCK_HOME": "/x"}).settings == Settings()


def test_a_syntax_error_names_file_and_line(write):
    assert error_of(write("[time]\nbucket = 5m\n")).startswith("desk.toml, line 2: not TOML")


def test_nesting_too_deep_to_read_is_an_error_that_names_its_place(write):
    deep = "[" * 100_000
    assert error_of(write(f"[time]\nbucket = {deep}\n")).startswith("desk.toml: lists or tables within one another")
    assert error_of(FORESHOCK_TOPICS__LIMIT=deep).startswith("FORESHOCK_TOPICS__LIMIT: lists or tables within")


def test_a_named_file_that_is_missing_is_an_error(write):
    assert "nope.toml: no such settings file" in error_of(Path("nope.toml"))


def test_a_file_that_is_not_utf_8_is_an_error(write):
    Path("bad.toml").write_bytes(b'[store]\nurl = "\xff"\n')
    assert "not UTF-8" in error_of(Path("bad.toml"))


@pytest.mark.parametrize("bucket", ["7m", "0s", "8m", "2h", "1d", "soon", "-5m", "9" * 400 + "w", True, [1]])
def test_a_bucket_must_be_a_duration_that_divides_an_hour(write, bucket):
    message = error_of(write(f"[time]\nbucket = {json.dumps(bucket)}\n"))
    assert message.startswith("desk.toml: time.bucket")


def test_two_topics_of_one_name_are_an_error(write):
    rule = '[[topics]]\nname = "a"\nnames = ["b"]\n'
    assert "two topics are called 'a'" in error_of(write(rule + rule))


def test_every_error_is_told_at_once(write):
    message = error_of(write('[time]\nbucket = "7m"\nassume_zone = "Mars"\n'))
    assert "time.bucket" in message
    assert "time.assume_zone" in message


@given(st.integers(min_value=0, max_value=10**15))
def test_a_duration_reads_back_as_it_was_written(microseconds):
    assert parse_duration(format_duration(microseconds)) == microseconds


def test_durations_are_written_as_people_do():
    assert parse_duration("1h30m") == parse_duration("90m") == parse_duration(5400) == parse_duration("5400")
    assert parse_duration(" 2 d ") == 172_800_000_000
    for text in ("90s", "36h", "2d", "0.5s"):
        assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@host/db",
        "postgresql://me:hunt@er/hunter2@host/db",
        "postgresql://host/db?user=me&password=hunter2",
        "postgresql+psycopg://me:hunter2@host:5432/db?sslpassword=hunter2&sslmode=require",
    ],
)
def test_a_password_is_never_shown(write, url):
    assert "hunter2" not in redacted(url)
    assert "***" in redacted(url)
    assert "hunter2" not in repr(load(environ={"FORESHOCK_STORE__URL": url}).settings)
    assert "hunter2" not in error_of(FORESHOCK_STORE__URL=url.replace("postgresql", "mysql"))
    assert "hunter2" not in error_of(write(f'[store]\nurl = ["{url}"]\n'))


def test_a_url_without_password_is_shown_as_it_is():
    for url in ("sqlite:///foreshock.db", "sqlite:////tmp/a@b.db", "postgresql://me@host/db?sslmode=require"):
        assert redacted(url) == url


def test_a_relative_watchlist_lies_beside_the_settings_file(write, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.csv").write_text("name,names\nACME,Acme Corp\n")
    file = write('[watchlist]\nfile = "mine.csv"\ndefaults = false\n', "sub/desk.toml")
    assert [rule.name for rule in topic_rules(load(file, environ={}).settings)] == ["ACME"]


def test_a_rule_in_the_settings_replaces_the_default_of_that_name(write):
    default = topic_rules(Settings())
    file = write(f'[[topics]]\nname = "{default[0].name}"\nnames = ["something else"]\n')
    mine = topic_rules(load(file, environ={}).settings)
    assert len(mine) == len(default)
    assert mine[0].names == ["something else"]


def test_the_settings_that_shape_decisions_are_plain_json_and_change_with_each_of_them(write):
    plain = shaping(Settings())
    assert json.loads(json.dumps(plain)) == plain
    assert shaping(load(environ={"FORESHOCK_STORE__URL": "sqlite:///other.db"}).settings) == plain
    assert shaping(load(environ={"FORESHOCK_MODEL__DEVICE": "cpu"}).settings) == plain
    assert shaping(load(environ={"FORESHOCK_TIME__BUCKET": "300"}).settings) == plain
    for name, value in {
        "TIME__BUCKET": "10m",
        "TIME__LATENESS": "1m",
        "TIME__MAX_STALENESS": "1h",
        "TIME__STALL_AFTER": "1h",
        "TIME__ASSUME_ZONE": "UTC",
        "MODEL__WEIGHTS": "permissive",
        "WATCHLIST__DEFAULTS": "false",
        "TOPICS": '[{"name": "a", "names": ["b"]}]',
    }.items():
        assert shaping(load(environ={f"FORESHOCK_{name}": value}).settings) != plain, name


def test_a_worker_reads_by_the_version_in_force_whatever_its_own_file_contains():
    kafka = {"kafka.bootstrap_servers": "h:1"}
    own = load(flags=kafka, environ={}).settings
    other = {
        **{"time.bucket": "10m", "time.assume_zone": "UTC", "ingest.date_only": True, "files.accept_scores": False},
        **{"kafka.accept_scores": True, "kafka.map": {"title": "headline"}, "model.weights": "permissive"},
        **{"model.per_company": False, "alerts.new_names": 0.1, "alerts.false_alarms": "5 per week"},
        **{"alerts.critical_stories": "2 per day", "watchlist.defaults": False, "limits.topics": 7},
        **{"topics": [{"name": "Acme", "names": ["Acme"]}], "critical": [], "sources": [{"name": "x", "weight": 0}]},
    }
    store = load(flags={**kafka, **other}, environ={}).settings
    assert [key for key in shaping(store) if shaping(own).get(key) == shaping(store)[key]] == []
    for mine, body in ((own, shaping(store)), (store, shaping(own))):
        assert shaping(in_force(mine, body)) == body
    monitors = load(environ={}).settings  # it reads no Kafka
    found = in_force(store, shaping(monitors)).kafka
    assert found is not None
    assert (found.map, found.accept_scores, found.bootstrap_servers) == ({}, False, ("h:1",))


def test_the_commented_file_is_valid_and_equals_the_defaults(write):
    assert load(write(template()), environ={}).settings == Settings()


def test_the_commented_file_has_every_setting_with_its_default_and_description(write, monkeypatch):
    lines = template().splitlines()
    whole = "\n".join(line[2:] if line.startswith("# ") else line for line in lines)
    values = tomllib.loads(whole)
    for section, model in sections():
        defaults = {} if section in LISTS else model().model_dump(mode="json")
        texts = field_docstrings(model)
        table = values[section][0] if section in LISTS else values[section]
        assert set(table) == set(keys(model)), section
        for key, value in table.items():
            assert f"{section}.{key}" == "topics.name" or texts[key], f"{section}.{key} has no docstring"
            if section not in LISTS and f"{section}.{key}" not in EXAMPLES:
                assert value == defaults[key]
    write("name,names\nACME,Acme Corp\n", "watchlist.csv")
    write("whsec_" + "A" * 32, "webhook-secrets.txt")
    monkeypatch.setenv("GATEWAY_TOKEN", "token")
    monkeypatch.setenv("PAGERDUTY_KEY", "k" * 32)
    monkeypatch.setenv("DESK_KEY", "k" * 32)
    monkeypatch.setenv("HEARTBEAT_KEY", "k" * 32)
    monkeypatch.setenv("COLLECTOR_KEY", "k" * 32)
    for name in ("webhook-headers.txt", "receiver-headers.txt", "heartbeat-headers.txt", "collector-headers.txt"):
        write("X-Team: desk\n", name)
    whole = re.sub(
        r"\n(key_file|client_secret_file|template|resolved)\w* = .*", "", whole
    )  # of kinds that exclude one another
    whole = whole.replace('\napprise_url_file = "slack-url.txt"', "")  # the one or the other
    whole = whole.replace('\nfile = "live.jsonl"', "")
    whole = re.sub(r"\n(ssl|sasl)_.*", "", whole)  # ways of reaching a broker that exclude one another
    assert load(write(whole), environ={}).settings.topics[0].name == "Target"


def test_config_check_warns_of_a_critical_topic_that_no_rule_defines(write):
    settings = load(write('[[critical]]\ntopics = ["Boeing", "Boing", "qqq"]\n'), environ={}).settings
    boing, other = unknown_topics(settings)
    assert "'Boing'" in boing
    assert "Did you mean Boeing?" in boing
    assert "'qqq'" in other
    assert load(write("critical = []\n"), environ={}).settings.critical == ()


def test_every_section_of_the_settings_forbids_unknown_keys():
    assert {name for name, model in sections() if model.model_config.get("extra") != "forbid"} == set()
    assert models.Settings.model_config.get("extra") == "forbid"


def test_the_stores_password_comes_from_a_file_and_is_never_shown(write, capsys):
    write("s@cret/:?\n", "pw.txt")
    file = write('[store]\nurl = "postgresql://desk@db:5432/news?sslmode=require"\npassword_file = "pw.txt"\n')
    url = load(file, environ={}).settings.store.url
    assert make_url(url).password == "s@cret/:?"
    assert url.endswith("@db:5432/news?sslmode=require")
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "pw.txt" in shown
    assert "s@cret" not in shown
    assert "s%40cret" not in shown


def test_a_sqlite_store_needs_no_password(write):
    file = write('[store]\npassword_file = "missing.txt"\n')
    assert load(file, environ={}).settings.store.url == "sqlite:///foreshock.db"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://desk:secret@db/news", "must contain a user and no password"),
        ("postgresql://db/news", "must contain a user and no password"),
        ("postgresql://desk@db/news", "cannot be read"),
    ],
)
def test_a_password_file_that_cannot_be_used_says_why(write, url, says):
    error = error_of(write(f'[store]\nurl = "{url}"\npassword_file = "missing.txt"\n'))
    assert says in error
    assert "secret" not in error


def test_a_stall_time_shorter_than_bucket_plus_lateness_is_refused(write):
    error = error_of(write('[time]\nbucket = "1h"\nstall_after = "30m"\n'))
    assert "stall_after must be at least bucket plus lateness (62m), not 30m" in error
    assert TimeSettings.model_validate({"bucket": "1h", "stall_after": "30m"}), "a store that has it stays readable"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('[feeds]\nrss = "https://zeta.example/rss"\n', "[feeds] is one table; write [[feeds]]"),
        ('[topics]\nname = "a"\n', "write [[topics]]"),
        ('[[topics]]\nname = "a"\nnames = "Acme"\n', 'names = ["..."]'),
    ],
)
def test_a_table_or_list_of_the_wrong_form_is_answered_with_the_right_one(
    tmp_path: Path, text: str, remedy: str
) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file, environ={})
    assert remedy in str(caught.value)


def test_a_settings_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_bytes(b'\xef\xbb\xbf[store]\nurl = "sqlite:///desk.db"\n')
    assert load(file, environ={}).settings.store.url == "sqlite:///desk.db"
