"""Log what has changed about the scorer, as every process that decides does."""

from __future__ import annotations

from foreshock.monitor.closing import Closed
from foreshock.monitor.scorer_changes import MEANING, remedy, sentence
from foreshock.monitor.store.times import iso
from foreshock.observability.log import log


def report(closed: Closed) -> None:
    """Log each change that was found, and each that is over. One that calls nobody is logged as news is."""
    for change in closed.scorer:
        say = log().warning if change.calls else log().info
        say(
            "scorer: a source has changed",
            source=change.source,
            kind=change.kind,
            since=iso(change.began_at),
            found=sentence(change),
            means=MEANING[change.kind],
            **({"to_read_it": command} if (command := remedy(change)) else {}),
        )
    for over in closed.scorer_ended:
        log().info("scorer: a change is over", source=over.source, kind=over.kind, because=over.because)
