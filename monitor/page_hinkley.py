"""River's Page-Hinkley detector, with a state that can be stored as a few numbers.

River keeps the state in the object and offers pickle alone; a store holds no pickles. `restored` sets the same
attributes, and tests/test_scorer_watch.py holds that a detector that was stored goes on like one that was not.

Source: Page 1954, "Continuous Inspection Schemes", Biometrika 41.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal

Mode = Literal["up", "both"]

LEAST_BLOCKS = 8
"""Values before a change can be found."""


@lru_cache(maxsize=1)
def _class() -> Any:
    """Return river's class.

    Its file is loaded alone, because `river.drift` also imports scipy.stats: most of a second and 68 MB, in each
    process that decides. Its objects cannot be pickled.
    """
    river = find_spec("river")
    for folder in (river.submodule_search_locations or ()) if river is not None else ():
        spec = spec_from_file_location(f"{__name__}_of_river", Path(folder) / "drift" / "page_hinkley.py")
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            with suppress(OSError, ImportError, AttributeError):
                spec.loader.exec_module(module)
                return module.PageHinkley
    from river.drift import PageHinkley  # river has another layout than today

    return PageHinkley


def fresh(*, delta: float, threshold: float, mode: Mode) -> Any:
    """Return a detector that has seen nothing.

    delta: how far a value may lie from the mean without counting. threshold: the sum of what lies further that is a
    change. mode: whether rises alone are changes.
    """
    return _class()(min_instances=LEAST_BLOCKS, delta=delta, threshold=threshold, alpha=1.0, mode=mode)


def state(detector: Any) -> list[float]:
    """Return what a detector remembers, as numbers that JSON can hold; nothing of one that has seen nothing."""
    if not detector._x_mean.n:
        return []
    d = detector
    sums = [d._sum_increase, d._min_increase, d._sum_decrease, d._max_decrease]
    return [d._x_mean.n, d._x_mean.get(), *sums, float(d.drift_detected)]


def restored(detector: Any, remembered: Sequence[float]) -> Any:
    """Return `detector`, fresh and of the same parameters, with what another one remembered."""
    if remembered:
        from river.stats import Mean

        count, mean, up, lowest, down, highest, found = remembered
        detector._x_mean = Mean._from_state(count, mean)
        detector._sum_increase, detector._min_increase = up, lowest
        detector._sum_decrease, detector._max_decrease = down, highest
        detector._drift_detected = bool(found)
    return detector


def risen(detector: Any) -> float:
    """Return how far the sum of rises is above its lowest value: 0 if no rise has begun."""
    return float(detector._sum_increase - detector._min_increase)


def fallen(detector: Any) -> float:
    """Return how far the sum of falls is below its highest value: 0 if no fall has begun."""
    return float(detector._max_decrease - detector._sum_decrease)
