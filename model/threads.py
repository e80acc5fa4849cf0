"""How many threads score: as many as this process may use at once, not as many as the machine has cores.

The one idea: a container with a quota of two cores on a machine of 64 must not start 64 threads. They would use up the
quota at once, and then all of them would stand still until the next period.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def threads_to_use(cgroups: Path = CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many threads can run at once: the cores of this process, or fewer if its cgroup's quota is lower.

    A quota of one core and a half gives two threads. Both versions of cgroups are read; where there is neither, the
    cores count.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(cgroups, membership), default=math.inf)
    return max(1, min(cores, math.ceil(quota))) if math.isfinite(quota) else cores


def _quotas(cgroups: Path, membership: Path) -> list[float]:
    """Return the quotas in cores of this process's groups and of all groups above them."""
    found = []
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        # Version 2 has one hierarchy without controllers; version 1 has one for each.
        if controllers not in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            continue
        root = cgroups / controllers if controllers else cgroups
        inside = root / path.lstrip("/")
        # In a container, the path is the host's and may not exist here: then the root is the container's own group.
        for group in (inside, *inside.parents):
            quota = _quota(group)
            if quota is not None:
                found.append(quota)
            if group == root:
                break
    return found


def _quota(group: Path) -> float | None:
    """Return the quota of one group in cores; None where it has none."""
    stated = _read(group / "cpu.max").split()
    if not stated:
        stated = [_read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()]
    try:
        quota, period = (int(value) for value in stated)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
