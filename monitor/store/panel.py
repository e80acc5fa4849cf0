"""One wide frame of several topics over time: a row for each step, a column for each field and topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from foreshock.monitor.store import series, settings_versions
from foreshock.monitor.store.series import Wanted

if TYPE_CHECKING:
    import pandas as pd

COUNTS = ("stories", "events")
MEANS = ("polarity", "baseline")
SUMS = ("negative", "neutral", "positive")
FLAGS = ("alerting", "filled")
FIELDS = (*COUNTS, *SUMS, *MEANS, *FLAGS)


def panel(connection: Connection, topics: Sequence[str], fields: Sequence[str], wanted: Wanted) -> pd.DataFrame:
    """Return a frame with the columns (field, topic), and a row for each step, also where a topic has no story.

    The index is `known_at`; of days, (`day`, `known_at`). Without a story, counts and sums are 0, flags False, and
    polarity and baseline NaN. Raises ValueError for a field that does not exist.
    """
    import pandas as pd

    if unknown := [field for field in fields if field not in FIELDS]:
        raise ValueError(f"there is no field {unknown[0]!r}; fields are {', '.join(FIELDS)}")
    lateness = settings_versions.time_settings(connection).lateness
    steps = series.steps(connection, wanted)
    rows = pd.DataFrame(series.rows(connection, topics, wanted), columns=["topic", "end", *FIELDS])
    ends = pd.to_datetime(rows["end"], utc=True, format="ISO8601").dt.as_unit("us")
    index = pd.DatetimeIndex(pd.to_datetime([step.end for step in steps], unit="us", utc=True)).as_unit("us")
    columns = pd.MultiIndex.from_product([fields, topics], names=["field", "topic"])
    found = pd.DataFrame(index=index, columns=columns, dtype="float64")
    for topic in topics:
        mine = rows["topic"] == topic
        own = rows[mine].set_index(ends[mine])
        for field in fields:
            values = own[field].reindex(index)
            if field in COUNTS:
                found[field, topic] = values.astype("float64").fillna(0).astype("int64")
            elif field in FLAGS:
                found[field, topic] = values.eq(True)
            else:
                values = values.astype("float64")
                found[field, topic] = values.fillna(0.0) if field in SUMS else values
    known_at = (index + pd.Timedelta(lateness, "us")).rename("known_at")
    if wanted.days is None:
        return found.set_index(known_at)
    days = pd.DatetimeIndex([step.day for step in steps], name="day")
    return found.set_index([days, known_at])
