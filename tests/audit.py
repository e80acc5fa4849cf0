"""Ask the Python Packaging Advisory Database for known vulnerabilities of the versions in constraints.txt.

    make audit

Exit codes: 0 all packages were checked and none has a known vulnerability, 1 some have, 3 nothing or not everything was
checked. pip-audit itself exits with 0 where an index knows no package, so its report is read, not its exit code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
VULNERABLE, NOT_CHECKED = 1, 3


def verdict(report: str, told: str) -> tuple[int, str]:
    """Return the exit code and a sentence for pip-audit's JSON report and what it wrote on stderr."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (told.strip().splitlines() or ["it said nothing"])[-1]
        return NOT_CHECKED, f"NOT CHECKED: pip-audit cannot reach its database: {last[:300]}"
    found = [f"{one['name']} {one['version']}: {flaw['id']}" for one in packages for flaw in one.get("vulns", ())]
    if found:
        return VULNERABLE, "\n".join([f"{len(found)} known vulnerabilities:", *found])
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if skipped or not packages:
        few = ", ".join(skipped[:5])
        return NOT_CHECKED, f"NOT CHECKED: the database gave no answer about {len(skipped)} of {len(packages)}: {few}"
    return 0, f"{len(packages)} packages, no known vulnerability."


def main() -> int:
    if subprocess.run([sys.executable, "-m", "pip_audit", "--version"], capture_output=True, check=False).returncode:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "pip-audit>=2.7"]
        if subprocess.run(pip, capture_output=True, check=False).returncode:
            print("NOT CHECKED: pip-audit is not installed, and pip cannot get it.", file=sys.stderr)
            return NOT_CHECKED
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        print("NOT CHECKED: the database did not answer within ten minutes.", file=sys.stderr)
        return NOT_CHECKED
    code, sentence = verdict(done.stdout, done.stderr)
    print(sentence, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
