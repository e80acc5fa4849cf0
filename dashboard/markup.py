"""The pages' HTML, from the templates beside this file.

    markup.render("events.html", rows=rows)

Every value is escaped unless it is `Markup`. `Markup` comes from templates, and from `text.outside` and `text.link`,
which escape what they are given. A template that uses a name which nobody passed fails; it does not print nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from foreshock.dashboard import formats, here, marks, stretch, text, words

FOLDER = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> Markup:
    """Return a template's HTML.

    Raises:
        jinja2.UndefinedError: the template uses a name that is not in `values`.
    """
    return Markup(environment().get_template(template).render(values))  # noqa: S704  # templates escape


def compile_all() -> None:
    """Compile every template, so that the first reader does not wait for it."""
    for name in environment().list_templates():
        environment().get_template(name)


@cache
def environment() -> Environment:
    """Return the one environment of all pages; made at the first use."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "outside": text.outside,
        "named": text.named,
        "clock": formats.clock,
        "zoned": formats.zoned,
        "second": formats.second,
        "clock_of_iso": formats.clock_of_iso,
        "ago": formats.ago,
        "number": formats.number,
        "count": formats.count,
        "signed": formats.signed,
        "share": formats.share,
        "mood_words": marks.mood_words,
    }
    made.tests["web"] = text.is_web
    made.globals |= {
        "link": text.link,
        "zone": formats.zone,
        "open_story": text.open_story,
        "alert_topic": stretch.alert_topic,
        "said": words.sentence,
        "alert_mark": marks.alert,
        "topic_mark": marks.topic,
        "unseen_mark": marks.unseen,
        "sparkline": marks.sparkline,
        "trend": marks.trend,
        "here": here.link,
        "scores": marks.scores,
    }
    return made
