"""Write a result as JSON, with the command, the date, the machine and the versions that produced it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def record(
    name: str, command: str, figures: dict[str, Any], samples: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Write benchmarks/results/NAME.json and return its content. `samples` are written one a line."""
    result = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 2),
            "python": platform.python_version(),
            "torch": version("torch"),
        },
        **figures,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2)
    if samples is not None:
        rows = ",\n".join(f"    {json.dumps(sample)}" for sample in samples)
        text = f'{text.removesuffix("}").rstrip()},\n  "samples": [\n{rows}\n  ]\n}}'
        result["samples"] = list(samples)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    return result
