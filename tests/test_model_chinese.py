"""Chinese: lines written for training, the cut tokenizer, weights in 8 bits, and texts that go to the weights that
read their script."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import SMALL, small_base

from foreshock.cli import main, options
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.scripts import READ, is_chinese, language_of
from foreshock.ingest.story import Story
from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.entities import mentions
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.explain import explain
from foreshock.model.labels import LABELS
from foreshock.model.quantised import round_rows
from foreshock.model.routed import RoutedScorer
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.settings import ModelSettings
from foreshock.model.storage import check_also, open_weights, read_arrays, write_weights
from foreshock.model.training.chinese import lines
from foreshock.model.training.multilingual import MARKS, make_tokenizer
from foreshock.monitor.store import open_store
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.topics.rules import TopicRule
from foreshock.processes.replay import replay
from foreshock.processes.switch import _wanted
from foreshock.settings.models import Settings
from foreshock.settings.versions import in_force, shaping

CHINESE = ("海岳科技三季度净利润同比增长41%", "西峪煤业矿难遇难人数升至9人", "TCL科技公布一季报", "跌")
ENGLISH = ("Profit falls 12 %", "Halden wins order", "", "Alibaba (阿里巴巴) to buy back shares")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Profit falls", "en"),
        ("Bénéfice en baisse chez Nestlé", "en"),
        ("苹果发布iPhone 16 Pro，A股产业链大涨", "zh"),
        ("Tesla Model Y在华降价", "zh"),
        ("Alibaba (阿里巴巴) to buy back more of its shares", "en"),
        ("トヨタ、今期の営業利益見通しを上方修正", "ja"),
        ("삼성전자 3분기 영업이익 급감", "ko"),
        ("Прибыль банка выросла", "und"),
        ("🚀🚀 12 %", "en"),
        ("", "en"),
    ],
)
def test_the_script_says_the_language(text: str, language: str) -> None:
    assert language_of(text) == language
    assert is_chinese(text) == (language == "zh")


@given(st.text(max_size=60), st.text())
def test_the_language_depends_on_the_beginning_alone(text: str, rest: str) -> None:
    begin = (text + " ") * (READ // (len(text) + 1) + 1)
    assert language_of(begin + rest) == language_of(begin)


def test_our_own_chinese_lines_are_chinese() -> None:
    # Of 1,005 lines some are little more than names in Latin letters.
    assert sum(is_chinese(one.row.text) for one in lines()) >= len(lines()) - 5


def test_a_language_is_guessed_only_where_the_feed_says_none_and_the_settings_ask() -> None:
    def read(language: str, *, guess: bool) -> str:
        said = f', "language": "{language}"' if language else ""
        raw = f'{{"title": "净利润同比下降", "published_at": "2026-01-05T10:00:00Z"{said}}}'.encode()
        story = parse(raw, "p", 0, ParseRules(guess_language=guess))
        assert isinstance(story, Story)
        return story.language

    assert [read("", guess=guess) for guess in (False, True)] == ["en", "zh"]
    assert [read("de", guess=guess) for guess in (False, True)] == ["de", "de"]


def test_the_settings_say_nothing_new_of_a_store_without_chinese() -> None:
    before = shaping(Settings())
    assert "also" not in before["model"]
    chinese = Settings(model=ModelSettings(also=("chinese",)))
    assert shaping(chinese)["model"] == {**before["model"], "also": ["chinese"]}
    assert in_force(Settings(), shaping(chinese)).model.also == ("chinese",)
    assert in_force(chinese, before).model.also == ()


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("买入比亚迪股份", "比亚迪", ["比亚迪"]),
        ("TCL科技涨停", "TCL", ["TCL"]),
        ("STCL科技涨停", "TCL", []),
        ("TCL科技与TCL中环", "TCL 科技", ["TCL科技"]),  # as the matcher of topics writes it
        ("Quay  Bank up", "quay bank", ["Quay  Bank"]),
        ("Applebee's", "Apple", []),
    ],
)
def test_a_name_is_found_in_a_text_without_spaces(text: str, name: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in mentions(text, name, unspaced=True)] == found


@given(st.text("ab $&.é-\n", max_size=12), st.text("ab $&.é", max_size=4))
def test_names_in_scripts_with_spaces_are_found_as_ever(text: str, name: str) -> None:
    assert mentions(text, name, unspaced=True) == mentions(text, name)


def test_topics_find_the_companies_of_a_chinese_text() -> None:
    rules = [
        TopicRule(name="BYD", names=["比亚迪"], company=True),
        TopicRule(name="TCL", names=["TCL科技"], company=True),
    ]
    text = "比亚迪与TCL科技终止合作"
    found = Matcher(rules).read(text, "", [], [], "zh")
    assert found.topics == ("BYD", "TCL")
    assert all(mentions(text, name, unspaced=True) for name in found.companies.values())
    assert list(found.companies) == ["BYD", "TCL"]


def test_the_lines_have_all_classes_and_enough_to_validate() -> None:
    parts = {part: [one for one in lines() if one.part == part] for part in ("train", "valid")}
    assert len(parts["train"]) >= 600
    assert len(parts["valid"]) >= 100
    for part in parts.values():
        assert min(Counter(one.row.label for one in part).values()) >= len(part) / 6
    assert {one.kind for one in parts["valid"]} == {one.kind for one in lines()}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train\tlaw\tnegative\t4\t\t被罚", "severity"),
        ("train\tlaw\tneutral\t1\t\t被罚", "severity"),
        ("train\tlaw\tbad\t1\t\t被罚", "label"),
        ("test\tlaw\tneutral\t0\t\t被罚", "part"),
        ("train\tlaw\tnegative\t1\t海岳=n\t被罚", "company"),
        ("train\tlaw\tnegative\t1\t海岳=x\t海岳被罚", "x"),
        ("train\tlaw\tnegative\t1\t海岳被罚", "values"),
        ("train\tlaw\tnegative\t1\t\t被罚\ntrain\tlaw\tnegative\t1\t\t被罚", "twice"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "lines.tsv"
    file.write_text(f"# explained\n{line}\n", encoding="utf-8")
    with pytest.raises(LabelledDataError, match=rf"line [23]: .*{said}"):
        lines(file)


def test_no_text_has_the_tokens_that_mark_a_company() -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "净", "利润", "净利润", "a"]
    tokenizer = make_tokenizer(pieces, np.array([0, 0, 0, 0, -3, -4, -4, -5, -4], dtype=np.float32), range(4, 9))
    ids = tokenizer.encode(f"净利润{''.join(MARKS)} a").ids
    assert not {1, 2, 3, 4} & set(ids)
    assert tokenizer.encode("净利润").tokens == ["[CLS]", "▁", "净利润", "[SEP]"]


def test_weights_in_8_bits_read_as_they_were_rounded(tmp_path: Path) -> None:
    base = small_base(tmp_path, ["up"])
    torch.manual_seed(0)
    tensors = Encoder(SMALL).state_dict()
    write_weights(
        tmp_path / "w",
        name="small",
        tensors=tensors,
        architecture=SMALL,
        tokenizer=base.tokenizer,
        calibration=Calibration(),
        licence="none",
        languages=["zh"],
        eight_bits=True,
    )
    folder = open_weights(str(tmp_path / "w"))
    assert folder.languages == {"zh"}
    read = read_arrays(folder)
    assert read.keys() == tensors.keys()
    for name, array in read.items():
        exact = tensors[name].half().float().numpy()
        if name == "words.weight" or (name.startswith("layers.") and exact.ndim == 2):
            rounded = round_rows(exact)
            assert np.allclose(array, rounded.values * rounded.scales)
            assert (round_rows(array).values == rounded.values).all()  # the engine's own rounding changes nothing more
        else:
            assert (array == exact).all()


@pytest.fixture(scope="module")
def scorers() -> tuple[Scorer, Scorer, Scorer]:
    """`default`, `chinese`, and both as one: its second part is loaded as `chinese` is, and serves for it."""
    both = load_scorer(device="cpu", also=("chinese",))
    assert isinstance(both, RoutedScorer)
    return load_scorer(device="cpu"), both.scorers[1], both


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(texts=st.lists(st.sampled_from([*CHINESE, *ENGLISH]), max_size=12))
def test_each_text_has_the_scores_of_the_weights_that_read_its_script(
    scorers: tuple[Scorer, Scorer, Scorer], texts: list[str]
) -> None:
    english, chinese, both = scorers
    pairs = [(text, "") for text in texts]
    for ask in ("score", "severity"):
        found = getattr(both, ask)(texts)
        for row, text in zip(found, texts, strict=True):
            assert row.tobytes() == getattr(chinese if is_chinese(text) else english, ask)([text])[0].tobytes()
    for ask in ("score_stories", "grade_stories", "sign_stories", "novel_stories"):
        found = getattr(both, ask)(pairs)
        for row, pair in zip(found, pairs, strict=True):
            of = chinese if is_chinese(pair[0]) else english
            assert row.tobytes() == getattr(of, ask)([pair])[0].tobytes()


@pytest.mark.slow
def test_the_scorer_of_both_names_both(scorers: tuple[Scorer, Scorer, Scorer]) -> None:
    english, chinese, both = scorers
    assert both.identity == f"{english.identity}+{chinese.identity}"
    assert both.languages == {"en", "zh"}
    assert both.reference is not None


@pytest.mark.slow
def test_a_company_has_the_score_of_a_chinese_text(scorers: tuple[Scorer, Scorer, Scorer]) -> None:
    english, chinese, both = scorers
    asked = [("澜网科技抢下星堤软件最大客户", "", "星堤软件"), ("Halden wins order", "", "nobody")]
    towards = both.score_companies(asked)
    assert towards is not None
    own = [of.score_stories([(title, body)])[0] for of, (title, body, _) in zip((chinese, english), asked, strict=True)]
    assert (towards == own).all()


@pytest.mark.slow
def test_a_chinese_text_is_explained_by_its_characters(scorers: tuple[Scorer, Scorer, Scorer]) -> None:
    explained = explain(scorers[2], "海岳科技净利润大增", "海岳科技")
    assert [word.word for word in explained.words] == list("海岳科技净利润大增")
    assert [word.contribution for word in explained.words[:4]] == [0.0] * 4


def test_further_weights_stand_beside_weights_of_other_languages_alone() -> None:
    check_also("default", ("chinese",))
    check_also("permissive", ())
    with pytest.raises(ModelError, match="reads zh already"):
        check_also("chinese", ("chinese",))
    with pytest.raises(ModelError, match="weights of Foreshock only"):
        check_also("hf:somewhere", ("chinese",))


def test_weights_that_a_command_names_stand_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text('[model]\nalso = ["chinese"]\n')
    assert options.load(file).settings.model.also == ("chinese",)
    loaded = options.load(file, weights="chinese")
    assert loaded.settings.model.also == ()
    assert loaded.origins["model.also"] == "--weights"

    given: list[dict[str, Any]] = []

    def noted(*arguments: Any) -> None:
        given.extend(found for found in arguments if isinstance(found, dict))
        raise ModelError("noted")

    monkeypatch.setattr("foreshock.model.comparing.compare", noted)
    monkeypatch.setattr("foreshock.model.training.adapting.Adapting", noted)
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "".join(f"Text {n},{LABELS[n % 3]}\n" for n in range(30)))
    config = ["--config", str(file)]
    assert main(["model", "compare", "default", "chinese", "--on", str(labels), *config]) == 2
    assert main(["model", "adapt", str(labels), "--out", str(tmp_path / "own.json"), *config]) == 2
    assert [found.get("also", ()) for found in given] == [(), ()]


@pytest.mark.parametrize(
    ("weights", "beside"), [("chinese", ()), ("hf:somewhere", ()), ("default", ("chinese",)), ("own", ("chinese",))]
)
def test_a_switch_leaves_out_further_weights_that_cannot_stand_beside(weights: str, beside: tuple[str, ...]) -> None:
    assert _wanted(ModelSettings(also=("chinese",)), weights).also == beside


@pytest.mark.slow
def test_a_mixed_feed_is_scored_by_the_weights_that_read_each_story(
    scorers: tuple[Scorer, Scorer, Scorer], tmp_path: Path
) -> None:
    english, chinese, both = scorers
    titles = {
        "a": ("海岳科技被立案调查，澜网科技大涨", "zh"),
        "b": ("海岳科技三季度净利润大增", None),
        "c": ("Halden wins order", None),
        "d": ("トヨタ、今期の営業利益見通しを上方修正", None),
        "e": ("Umsatz von Halden sinkt", "de"),
    }
    records = [
        {"id": name, "title": title, "published_at": "2026-01-05T10:00:00Z"} | ({"language": said} if said else {})
        for name, (title, said) in titles.items()
    ]
    path = tmp_path / "news.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    rules = tuple(TopicRule(name=name, names=[name], company=True) for name in ("海岳科技", "澜网科技"))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    given = Settings.model_validate(
        {
            "store": {"url": url},
            "model": {"also": ["chinese"], "score_cache": "off"},
            "ingest": {"guess_language": True},
            "watchlist": {"defaults": False},
        }
    ).model_copy(update={"topics": rules})
    replay(given, [path], scorer=lambda: both)
    stories = {row["id"]: row for row in open_store(url).stories()}
    assert {name: row["language"] for name, row in stories.items()} == dict(
        zip("abcde", ("zh", "zh", "en", "ja", "de"), strict=True)
    )
    assert {name for name, row in stories.items() if row["ending"] == "unscored"} == {"d", "e"}
    for name, of in (("a", chinese), ("b", chinese), ("c", english)):
        expected = of.score_stories([(titles[name][0], "")])[0]
        assert [round(10_000 * stories[name]["scores"][label]) for label in LABELS] == expected.tolist()
