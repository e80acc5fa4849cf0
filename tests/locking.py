"""Write deploy/requirements.txt and requirements-torch.txt: pinned run-time packages with the hashes of their files.

    make lock

uv resolves pyproject.toml within constraints.txt for all platforms. torch and what only it needs stand in a file of
their own: its builds for CPUs and for CUDA are different files, and only those of the main index can be known here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("otel", "postgres", "research", "serve", "xlsx")
"""What a process in production may need. `hf` and `bench` are left out: they are for trying other models."""
OF_TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")

ALL = """# All run-time packages of Foreshock but torch, with the hashes of their files. Written by: make lock
# Use: pip install --require-hashes --no-deps -r deploy/requirements.txt (docs/releasing.md)
"""
TORCH = """# torch and, on Linux, the CUDA libraries of its build on the main package index. Written by: make lock
# A build for CPUs comes from another index and has other hashes (docs/releasing.md).
"""


def blocks(text: str) -> dict[str, str]:
    """Return the lines about each package, by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if begins := re.match(r"([a-z0-9][a-z0-9._-]*)==", line):
            name = begins[1]
        elif not line.startswith((" ", "\t")):
            continue
        found[name] = found.get(name, "") + line
    return found


def main() -> int:
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--constraint", "constraints.txt"]
    command += [part for extra in EXTRAS for part in ("--extra", extra)]
    command += ["--universal", "--generate-hashes", "--no-annotate", "--no-header", "--no-config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr, end="")
        return 1
    found = blocks(done.stdout)
    torch = {name for name in found if OF_TORCH.fullmatch(name)}
    for file, head, names in (
        ("requirements.txt", ALL, found.keys() - torch),
        ("requirements-torch.txt", TORCH, torch),
    ):
        text = head + "".join(found[name] for name in sorted(names))
        (ROOT / "deploy" / file).write_text(text, encoding="utf-8")
        print(f"deploy/{file}: {len(names)} packages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
