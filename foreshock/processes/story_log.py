"""Log what became of each story, by its id, where the settings ask for it ([logs] stories)."""

from __future__ import annotations

from foreshock.monitor.closing import Closed
from foreshock.monitor.counting import Ruling
from foreshock.monitor.store.progress import Batch
from foreshock.monitor.store.times import iso
from foreshock.observability.log import log


class StoryLog:
    """Logs a line for each story at each step, or nothing. Titles and texts are not logged."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def stored(self, batch: Batch) -> None:
        """Log a batch that is committed."""
        if not self.on:
            return
        topics: dict[tuple[str, int], list[str]] = {}
        for row in batch.story_topics:
            topics.setdefault((row["partition"], row["offset"]), []).append(row["topic"])
        for row in batch.stories:
            where = row["partition"], row["offset"]
            scores = None if row["negative"] is None else [row["negative"], row["neutral"], row["positive"]]
            log().info(
                "story stored",
                story=row["id"],
                partition=where[0],
                offset=where[1],
                source=row["source"],
                counts_at=iso(row["counts_at"]),
                late=row["late"],
                topics=topics.get(where, []),
                scores=scores,
                model=row["model"],
            )

    def decided(self, closed: Closed) -> None:
        """Log the stories of buckets that are decided."""
        for ruling in closed.rulings if self.on else ():
            member = ruling.member
            log().info(
                "story decided",
                story=member.id,
                partition=member.partition,
                offset=member.offset,
                bucket=iso(member.bucket),
                counts_as=counts_as(ruling),
                weighs=ruling.weighs,
                of=None if (first := ruling.story or ruling.event) is None else list(first),
            )


def counts_as(ruling: Ruling) -> str:
    """Return how a story counts: its ending, or `near_copy`."""
    return "near_copy" if ruling.ending == "scored" and ruling.event is not None else ruling.ending
