"""Build a release into dist/, and try it outside the checkout.

    make release

Writes the sdist, the wheel (built from the sdist), deploy/requirements.txt, docs/licences.md, a CycloneDX bill of
materials and checksums. The wheel is installed into a new environment and used in an empty folder. What a person still
has to do is listed at the end. Nothing is uploaded. See docs/releasing.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import licences
import locking

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
FEED = "".join(
    json.dumps({"id": f"{n}", "title": title, "published_at": f"2026-03-02T09:0{n}:00Z", "source": "wire"}) + "\n"
    for n, title in enumerate(("Acme wins a large order", "Acme cuts its forecast", "Bolt opens a plant"))
)


def run(*command: object, **options: Any) -> str:
    """Run a command and return what it printed. Exits with what it said if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def say(text: str) -> None:
    print(text, flush=True)


def build() -> Path:
    """Build the sdist from the committed files, and the wheel from the sdist. Return the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, folder)
    return DIST / f"foreshock-{VERSION}-py3-none-any.whl"


def installed(wheel: Path, folder: Path) -> Path:
    """Install the wheel with the hashed requirements into a new environment. Return its folder of commands."""
    run(sys.executable, "-m", "venv", folder)
    bin_ = folder / "bin"
    pip = (bin_ / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    pinned = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    run(*pip, "-c", ROOT / "constraints.txt", pinned[0])
    run(*pip, "--require-hashes", "--no-deps", "-r", ROOT / "deploy" / "requirements.txt")
    run(*pip, "--no-deps", wheel)
    run(bin_ / "python", "-m", "pip", "check")
    return bin_


def try_out(bin_: Path, folder: Path) -> None:
    """Use what was installed, in a folder with nothing but a feed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where: dict[str, Any] = {"cwd": folder, "env": {**environment, "HF_HUB_OFFLINE": "1"}}
    (folder / "news.jsonl").write_text(FEED)
    command = bin_ / "foreshock"
    assert run(command, "--version", **where) == f"foreshock {VERSION}\n"
    assert "replay" in run(command, "--help", **where)
    scored = [json.loads(line) for line in run(command, "score", "news.jsonl", **where).splitlines()]
    assert scored[0]["positive"] > 0.5 > scored[1]["positive"], scored
    counts = json.loads(run(command, "replay", "news.jsonl", "--store", "sqlite:///s.db", "--json", **where))
    assert (counts["stories"], counts["scored"], counts["dead_letters"]) == (3, 3, 0), counts
    say(f"wheel: installed, scores and replays outside the checkout ({counts['seconds']} s)")


def bill_of_materials(bin_: Path) -> None:
    """Write the CycloneDX SBOM of the environment. Exits if it names a place of this machine."""
    file = DIST / f"foreshock-{VERSION}.cdx.json"
    command = (sys.executable, "-m", "cyclonedx_py", "environment", bin_ / "python")
    run(*command, "--pyproject", ROOT / "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", file)
    bom = json.loads(file.read_text())
    for component in (*bom["components"], bom["metadata"]["component"]):  # where pip found a local file is no news
        links = [link for link in component.get("externalReferences", ()) if not link["url"].startswith("file:")]
        component["externalReferences"] = links
    text = json.dumps(bom, indent=2) + "\n"
    if any(place in text for place in (str(ROOT), str(bin_.parent), "file:/")):
        raise SystemExit(f"{file} names a place of this machine")
    file.write_text(text)
    say(f"SBOM: {len(bom['components'])} components, CycloneDX {bom['specVersion']}")


def checksums() -> None:
    files = sorted(file for file in DIST.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def left_to_do(audited: int) -> list[str]:
    """Return what keeps this from being a release, in sentences."""
    left = []
    if run("git", "status", "--porcelain", cwd=ROOT):
        left.append("There are changes that are not committed (git status). Only what is committed was built.")
    if not re.search(rf"^## {re.escape(VERSION)} - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M):
        left.append(f"CHANGELOG.md gives no date for {VERSION}.")
    if run("git", "tag", "--list", f"v{VERSION}", cwd=ROOT):
        left.append(f"The tag v{VERSION} exists already: raise the version.")
    if audited:
        left.append("The audit is not clean, or was not done: see above.")
    return left


def main() -> int:
    if locking.main():
        return 1
    wheel = build()
    say(f"built: {', '.join(sorted(file.name for file in DIST.iterdir()))}")
    with tempfile.TemporaryDirectory() as folder:
        bin_ = installed(wheel, Path(folder) / "venv")
        empty = Path(folder) / "empty"
        empty.mkdir()
        try_out(bin_, empty)
        licences.main(str(bin_ / "python"))
        bill_of_materials(bin_)
    checksums()
    audited = subprocess.run([sys.executable, ROOT / "tests" / "audit.py"], check=False).returncode
    left = left_to_do(audited)
    say("\n".join(["Left to do:", *(f"* {one}" for one in left)]) if left else f"dist/ holds the release {VERSION}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
