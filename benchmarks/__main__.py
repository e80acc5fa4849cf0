"""Run every benchmark that needs no further data, one after the other (`make bench`)."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.arguments import parser

COMMANDS = (
    ("-m", "benchmarks.scorer"),
    ("-m", "benchmarks.replay"),
    ("-m", "benchmarks.demo"),
    ("-m", "benchmarks.delivery"),
    ("-m", "benchmarks.monitor"),
)

if __name__ == "__main__":
    parser(__doc__).parse_args()
    for command in COMMANDS:
        print("$ python", *command, flush=True)
        done = subprocess.run([sys.executable, *command], check=False)
        if done.returncode:
            sys.exit(done.returncode)
