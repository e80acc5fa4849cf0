"""Alert packs: every kind verifies, a changed story or number shows, and a hostile file is refused with a sentence."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import Engine, insert, select, update

from foreshock.analysis import pack as packing
from foreshock.analysis import pack_file
from foreshock.analysis.pack import pack
from foreshock.analysis.pack_check import verify
from foreshock.analysis.pack_file import PackRefused
from foreshock.cli import main
from foreshock.monitor.errors import NoSuchAlert
from foreshock.monitor.store import retention, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.evidence_age import Eraser
from foreshock.processes.replay import replay
from foreshock.settings.load import load

pytestmark = pytest.mark.slow

START = 1_770_076_800
DAY = 86_400
WORDS = [f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"]
KINDS = ("negativity_spike", "volume", "silence", "drift", "critical")


def test_an_alert_of_a_kind_that_is_not_known_here_is_read_as_it_was_sent() -> None:
    said = {"kind": "of_a_newer_version", "events": 2, "evidence": [], "belated": True}
    connection = Mock()
    connection.execute.return_value.scalar.return_value = json.dumps(said)
    assert packing.published(connection, "a") == {"kind": "of_a_newer_version", "events": 2, "evidence": []}


def feed(path: Path) -> Path:
    """Ten topics for seven weeks. One is worse in the last three of them, and one has a critical story."""
    rng, records = random.Random(4), list[dict[str, Any]]()
    for hour in range(0, 50 * 24, 2):
        for topic in rng.sample(range(10), 5):
            bad = 0.75 if topic == 0 and hour > 29 * 24 else 0.25
            negative = 0.9 if rng.random() < bad else 0.05
            title = " ".join(rng.choices(WORDS, k=9))
            scores = {"negative": negative, "neutral": round(1 - negative, 4), "positive": 0.0}
            at = START + hour * 3600 + rng.randrange(300)
            records.append({"title": title, "published_at": at, "scores": scores, "topics": [f"T{topic}"]})
    at, grave = START + 40 * DAY + 500, {"negative": 0.95, "neutral": 0.05, "positive": 0.0}
    more = {"id": "c1", "source": "wire", "scores": grave}
    records.append({**more, "title": "Acme gives a statement on its plant", "published_at": at})
    records.append({**more, "title": "Acme plant hit by explosion", "published_at": at + 60})
    records.append({**more, "id": "c2", "title": "Acme hacked", "published_at": at + 900})
    records.sort(key=lambda record: record["published_at"])
    path.write_text(
        "".join(f"{json.dumps({'id': f's{n}', 'source': f'w{n % 4}', **r})}\n" for n, r in enumerate(records))
    )
    return path


def replayed(folder: Path, name: str) -> str:
    url = name if "://" in name else f"sqlite:///{folder / name}"
    flags = {"store.url": url, "watchlist.defaults": False, "topics": [{"name": "Acme", "names": ["Acme"]}]}
    replay(load(None, flags=flags, environ={}).settings, [feed(folder / "news.jsonl")])
    return url


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store with a drift and a critical alert."""
    return replayed(tmp_path_factory.mktemp("packs"), "own.db")


@pytest.fixture
def store(own: str) -> Iterator[Engine]:
    engine = connect(own, create=False)
    yield engine
    engine.dispose()


def first_of(engine: Engine, kind: str) -> str:
    a = schema.alerts.c
    query = select(a.id).where(a.kind == kind, a.fired_at.is_not(None)).order_by(a.fired_at, a.id).limit(1)
    with reading(engine) as connection:
        return str(connection.execute(query).scalar_one())


@pytest.fixture(scope="module")
def packs(own: str, crisis_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A pack of each kind."""
    folder, made = tmp_path_factory.mktemp("made"), dict[str, Path]()
    for kind in KINDS:
        url = own if kind in ("drift", "critical") else f"sqlite:///{crisis_store}"
        engine = connect(url, create=False)
        pack(engine, first_of(engine, kind), folder / f"{kind}.zip")
        made[kind] = folder / f"{kind}.zip"
        engine.dispose()
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_alert_is_decided_again_from_its_pack(packs: dict[str, Path], kind: str) -> None:
    found = verify(packs[kind])
    assert [(check.name, check.same) for check in found.checks] == [
        *(("stories", True), *([] if kind == "critical" else [("state", True)])),
        *(("counting", True), ("decision", True), ("publication", True)),
    ], found.checks
    assert found.same
    assert found.about["alert"]["kind"] == kind


@pytest.mark.postgres
def test_the_same_alert_gives_the_same_bytes_also_after_its_end_and_in_another_store_on_postgresql(
    postgres: str, store: Engine, packs: dict[str, Path], tmp_path: Path
) -> None:
    """The other store is on PostgreSQL, and the test never skips: no other one compares packs of two stores."""
    again = connect(replayed(tmp_path, postgres), create=False)
    for kind in ("drift", "critical"):
        alert = first_of(store, kind)
        pack(again, alert[:12], tmp_path / "again.zip")
        assert (tmp_path / "again.zip").read_bytes() == packs[kind].read_bytes()
    with writing(again) as connection:
        a = schema.alerts.c
        values = {"state": "firing", "resolved_at": None, "sentence": "It goes on.", "evidence": "[]"}
        connection.execute(update(schema.alerts).where(a.id == alert).values(values))
    pack(again, alert, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packs["critical"].read_bytes(), "only what was sent when it fired"
    again.dispose()


@pytest.mark.parametrize("kind", ["drift", "critical"])
def test_an_alert_whose_stories_were_deleted_is_refused(own: str, tmp_path: Path, kind: str) -> None:
    engine = connect(f"sqlite:///{shutil.copy(own.removeprefix('sqlite:///'), tmp_path / 'old.db')}", create=False)
    alert = first_of(engine, kind)
    with reading(engine) as connection:
        row = connection.execute(select(schema.alerts).where(schema.alerts.c.id == alert)).one()
        gone = sorted(packing._stories_of(connection, row, 0))[:1]
    with writing(engine) as connection:
        retention._delete(connection, gone, ["none"], 0)
    with pytest.raises(PackRefused, match="keep_stories and were deleted"):
        pack(engine, alert, tmp_path / "old.zip")
    assert not (tmp_path / "old.zip").exists()
    engine.dispose()


@pytest.mark.parametrize("kind", ["drift", "critical"])
def test_an_alert_whose_evidence_was_deleted_is_refused_though_its_stories_are_there(
    own: str, tmp_path: Path, kind: str
) -> None:
    """The pack said that its own alert differed, as if somebody had changed it."""
    engine = connect(f"sqlite:///{shutil.copy(own.removeprefix('sqlite:///'), tmp_path / 'old.db')}", create=False)
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=(START + 1_000 * DAY) * 1_000_000))
        connection.execute(update(schema.alerts).values(resolved_at=schema.alerts.c.fired_at))
        connection.execute(update(schema.incidents).values(ended_at=schema.incidents.c.fired_at))
    assert Eraser(engine, keep=1).step() > 0
    with pytest.raises(PackRefused, match="keep_evidence and was deleted"):
        pack(engine, first_of(engine, kind), tmp_path / "old.zip")
    assert not (tmp_path / "old.zip").exists()
    engine.dispose()


Change = Callable[[list[dict[str, Any]]], None]


def altered(source: Path, target: Path, member: str, change: Change) -> Path:
    """Write a pack with some rows changed, and with the hashes of the changed rows."""
    manifest, members, _ = pack_file.read(source)
    rows = [json.loads(line) for line in members[member].splitlines()]
    change(rows)
    members[member] = b"".join(f"{json.dumps(r, ensure_ascii=False, separators=(',', ':'))}\n".encode() for r in rows)
    if member == pack_file.ALERT:
        members[member] = f"{json.dumps(rows[0], ensure_ascii=False)}\n".encode()
        manifest["alert"] = {name: rows[0].get(name) for name in manifest["alert"]}
    about = {key: value for key, value in manifest.items() if key not in ("format", "version", "members")}
    pack_file.write(target, about, members)
    return target


def sets(place: int = 0, **values: Any) -> Change:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[place].update(values)

    return change


def more_negative(rows: list[dict[str, Any]]) -> None:
    row = max(rows, key=lambda row: row["negative"] or 0)
    row["negative"], row["neutral"] = row["negative"] - 100, row["neutral"] + 100


def other_budget(rows: list[dict[str, Any]]) -> None:
    body = json.loads(rows[-1]["body"])
    body["alerts"]["false_alarms"] = "1 per 10 years"
    rows[-1]["body"] = json.dumps(body)


@pytest.mark.parametrize(
    ("kind", "member", "change", "check", "said"),
    [
        (
            "negativity_spike",
            "stories.jsonl",
            sets(title="All is well"),
            "stories",
            "its text is not the one of its hash",
        ),
        ("negativity_spike", "stories.jsonl", more_negative, "counting", "negative of the bucket"),
        ("negativity_spike", "stories.jsonl", sets(published_at=1_770_000_000_000_000), "publication", "evidence"),
        ("negativity_spike", "alert.json", sets(observed=3.0), "decision", "observed is 3.0 in the pack"),
        ("negativity_spike", "alert.json", sets(sentence="All is well."), "publication", "sentence is"),
        ("negativity_spike", "alert.json", sets(severity="critical"), "publication", "severity is"),
        ("negativity_spike", "alert.json", sets(events=70), "publication", "events is 70 in the pack"),
        ("drift", "settings_versions.jsonl", other_budget, "state", "calibrated again"),
        ("drift", "decisions.jsonl", sets(weighs=False), "counting", "without weight"),
        ("silence", "alert.json", sets(baseline=1.0), "decision", "baseline is 1.0 in the pack"),
        ("volume", "buckets.jsonl", lambda rows: rows.__delitem__(slice(-40, None)), "decision", "in the pack"),
        (
            "critical",
            "stories.jsonl",
            sets(1, title="Acme plant opened"),
            "stories",
            "its text is not the one of its hash",
        ),
        (
            "critical",
            "critical_stories.jsonl",
            sets(negative=9_900),
            "decision",
            "observed is 0.95 in the pack, and 0.99",
        ),
        ("critical", "critical_stories.jsonl", lambda rows: rows.clear(), "decision", "does not fire"),
        ("critical", "story_topics.jsonl", sets(-1, critical="fraud"), "stories", "not critical by its text"),
    ],
)
def test_a_changed_story_or_number_makes_it_differ_and_says_what(
    packs: dict[str, Path], tmp_path: Path, kind: str, member: str, change: Change, check: str, said: str
) -> None:
    found = verify(altered(packs[kind], tmp_path / "changed.zip", member, change))
    assert not found.same
    sentence = next(one.sentence for one in found.checks if one.name == check and one.same is False)
    assert said in sentence


def test_an_alert_that_never_fired_or_is_not_decided_yet_is_not_packed(store: Engine, tmp_path: Path) -> None:
    copy = connect(f"sqlite:///{tmp_path / 'copy.db'}", create=True)
    columns = {column.name: 0 for column in schema.alerts.columns if not column.nullable}
    with writing(copy) as connection:
        for identity, fired_at in (("never", None), ("ahead", 5)):
            row = {**columns, "id": identity, "fired_at": fired_at, "kind": "critical", "evidence": "[]"}
            connection.execute(insert(schema.alerts).values(row))
    for identity, said in (("never", "never fired"), ("ahead", "before its bucket closed")):
        with pytest.raises(PackRefused, match=said):
            pack(copy, identity, tmp_path / "x.zip")
    with pytest.raises(NoSuchAlert):
        pack(copy, "nothing", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
    copy.dispose()


def test_more_stories_than_a_pack_holds_are_left_out_and_the_decision_is_still_verified(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MOST_STORIES", 3)
    pack(store, first_of(store, "drift"), tmp_path / "drift.zip")
    found = verify(tmp_path / "drift.zip")
    assert [(check.name, check.same) for check in found.checks] == [
        *(("stories", None), ("state", True), ("decision", True), ("publication", None))
    ]
    assert found.same
    assert not verify(altered(tmp_path / "drift.zip", tmp_path / "x.zip", "alert.json", sets(baseline=0.5))).same


def test_a_critical_alert_without_its_stories_is_not_decided_again_and_not_called_different(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packing, "MOST_STORIES", 0)
    pack(store, first_of(store, "critical"), tmp_path / "critical.zip")
    found = verify(tmp_path / "critical.zip")
    assert [(check.name, check.same) for check in found.checks] == [("stories", None), ("decision", None)]
    assert not found.same, "nothing was decided again"
    assert main(["alerts", "verify", str(tmp_path / "critical.zip")]) == 1
    said = capsys.readouterr().out
    assert "THE ALERT WAS NOT DECIDED AGAIN." in said
    assert "DIFFERS" not in said


def test_a_state_that_verify_would_refuse_is_not_packed(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_file, "LARGEST_STATE", 1_000)
    with pytest.raises(PackRefused, match="state is larger"):
        pack(store, first_of(store, "drift"), tmp_path / "x.zip")


# Files that nobody made with `alerts pack`.


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def manifest_with(whole: dict[str, bytes], **values: Any) -> dict[str, bytes]:
    manifest = {**json.loads(whole["manifest.json"]), **values}
    return {**whole, "manifest.json": json.dumps(manifest).encode()}


def without_model(whole: dict[str, bytes]) -> dict[str, bytes]:
    manifest = json.loads(whole["manifest.json"])
    return {**whole, "manifest.json": json.dumps({k: v for k, v in manifest.items() if k != "model"}).encode()}


def bomb(members: dict[str, bytes]) -> dict[str, bytes]:
    return {**members, "stories.jsonl": bytes(9 << 20)}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda m: {**m, "stories.jsonl": m["stories.jsonl"] + b"\n"}, "SHA-256 of stories.jsonl"),
        (lambda m: {k: v for k, v in m.items() if k != "buckets.jsonl"}, "member buckets.jsonl is missing"),
        (lambda m: {k: v for k, v in m.items() if k != "manifest.json"}, "without a manifest"),
        (lambda m: {**m, "../../evil.txt": b"x"}, "members that a pack does not have"),
        (lambda m: manifest_with(m, version=2), "version 2; this Foreshock reads version 1"),
        (lambda m: manifest_with(m, snapshot=1), "verify it with that one"),
        (lambda m: manifest_with(m, format="zip"), "not one of an alert pack"),
        (lambda m: manifest_with(m, members={}), "lists other members"),
        (lambda m: {**m, "manifest.json": b"[" * 100_000}, "is not JSON"),
        (lambda m: {**m, "manifest.json": b"\xff"}, "is not JSON"),
        (lambda m: manifest_with(m, alert={"id": "c", "topic": "Acme"}), "names another alert"),
        (lambda m: manifest_with(m, alert=None), "names another alert"),
        (lambda m: manifest_with(m, model=["a"]), "model cannot be"),
        (lambda m: manifest_with(m, stories=3), "stories cannot be"),
        (without_model, "model is missing"),
        (bomb, "unpacked it is larger than"),
    ],
)
def test_a_file_that_is_no_good_pack_is_refused_with_a_sentence(
    packs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, said: str
) -> None:
    monkeypatch.setattr(pack_file, "LARGEST", 8 << 20)
    with pytest.raises(PackRefused, match=said) as refused:
        verify(zipped(make(members_of(packs["critical"])), tmp_path / "bad.zip"))
    assert "bad.zip" in str(refused.value)


def test_a_member_that_claims_to_be_small_is_not_believed(packs: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(zipped(bomb(members_of(packs["critical"])), tmp_path / "liar.zip").read_bytes())
    size = (9 << 20).to_bytes(4, "little")
    at = data.find(size)
    while at >= 0:
        data[at : at + 4] = (100).to_bytes(4, "little")
        at = data.find(size)
    (tmp_path / "liar.zip").write_bytes(data)
    with pytest.raises(PackRefused, match=r"damaged|SHA-256|larger"):
        verify(tmp_path / "liar.zip")


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_is_not_unpacked_in_a_way_that_gives_all_of_it_at_once(
    packs: dict[str, Path], tmp_path: Path, way: int
) -> None:
    members = members_of(packs["critical"])
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, bytes(9 << 20) if name == "stories.jsonl" else data, way)
    with pytest.raises(PackRefused, match="compressed in another way"):
        verify(tmp_path / "bomb.zip")


@pytest.mark.parametrize(
    ("member", "change", "said"),
    [
        ("stories.jsonl", sets(negative="many"), "negative cannot be"),
        ("stories.jsonl", sets(negative=2**70), "negative cannot be"),
        ("stories.jsonl", sets(stale=1), "stale cannot be 1"),
        ("stories.jsonl", sets(title=None), "title cannot be null"),
        ("stories.jsonl", sets(signature="?"), "signature cannot be"),
        ("stories.jsonl", sets(more=1), "expected an object with"),
        ("stories.jsonl", lambda rows: rows.append(rows[0]), "cannot be used"),
        ("settings_versions.jsonl", sets(body="{}"), "cannot be used"),
        ("settings_versions.jsonl", sets(body="[" * 9_000), "cannot be used"),
        ("daily_state.jsonl", sets(bucket=5), "not from the days before"),
        ("alert.json", sets(fired_at="soon"), "is not a time"),
        ("alert.json", sets(topic=7), "is not an alert"),
    ],
)
def test_rows_that_no_store_has_are_refused_with_a_sentence(
    packs: dict[str, Path], tmp_path: Path, member: str, change: Change, said: str
) -> None:
    with pytest.raises(PackRefused, match=said) as refused:
        verify(altered(packs["drift"], tmp_path / "bad.zip", member, change))
    assert str(refused.value).count("bad.zip: ") == 1


def test_a_state_that_unpacks_to_more_than_a_state_is_refused(
    packs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_file, "LARGEST_STATE", 1_000)
    with pytest.raises(PackRefused, match="state is larger"):
        verify(packs["drift"])
    monkeypatch.undo()
    with pytest.raises(PackRefused, match=r"state is damaged|cannot be used"):
        verify(altered(packs["drift"], tmp_path / "x.zip", "daily_state.jsonl", sets(body="AAAA")))


def test_damaged_bytes_are_refused_or_differ_and_never_a_traceback(packs: dict[str, Path], tmp_path: Path) -> None:
    data, rng = packs["critical"].read_bytes(), random.Random(7)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        (tmp_path / "x.zip").write_bytes(broken[: rng.choice([len(broken), rng.randrange(len(broken))])])
        with suppress(PackRefused):
            assert pack_file.read(tmp_path / "x.zip")[1].keys() == pack_file.read(packs["critical"])[1].keys()


def test_the_commands_say_the_result_by_their_exit_code(
    own: str, packs: dict[str, Path], store: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "alert.zip"
    assert main(["alerts", "pack", first_of(store, "drift"), "--out", str(out), "--store", own]) == 0
    assert "SHA-256 of its manifest" in capsys.readouterr().out
    assert main(["alerts", "verify", str(out)]) == 0
    assert "The result is the same." in capsys.readouterr().out
    bad = altered(out, tmp_path / "bad.zip", "alert.json", sets(observed=-0.9))
    assert main(["alerts", "verify", str(bad), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["same"] is False
    assert {check["name"] for check in said["checks"] if check["same"] is False} == {"decision", "publication"}
    (tmp_path / "text.zip").write_text("no zip")
    for path in (tmp_path / "text.zip", tmp_path / "missing.zip"):
        assert main(["alerts", "verify", str(path)]) == 2
        assert path.name in capsys.readouterr().err


def test_a_pack_is_written_whole_or_not_at_all(store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_file, "LARGEST", 10)
    with pytest.raises(PackRefused, match="more than"):
        pack(store, first_of(store, "drift"), tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()
