"""Units of time and of scores that every file of the monitor shares."""

from __future__ import annotations

HOUR = 3_600_000_000


DAY = 24 * HOUR


UNIT = 10_000
"""Sums are in 1/10,000 of an event."""


ALL = "_all"
"""The series of all stories: it is watched like a topic, and left out where topics are pooled."""
