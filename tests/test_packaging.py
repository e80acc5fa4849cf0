"""What is installed: the wheel's contents, that it runs anywhere, and that the pins are whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from benchmarks.demo import judge
from foreshock.cli.demo import bad_news_beyond_the_usual, gravest
from foreshock.demo import generator, show
from foreshock.monitor.store import open_store

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SEED = 3


def run(*command: object, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build/ left in the checkout would slip old files in, and this one leaves none behind."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    links = [path for path in (ROOT / "foreshock").iterdir() if path.is_symlink()]
    for folder in ("foreshock", *(path.name for path in links)):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("sdist")
    quick = "import tarfile; tarfile.TarFile.gzopen.__func__.__defaults__ = ('r', None, 1)"  # by default it takes 9
    run(
        sys.executable,
        "-c",
        f"{quick}\nfrom setuptools import build_meta as b; b.build_sdist({str(out)!r})",
        cwd=source,
    )
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, so that whoever has only that gets the same wheel."""
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    quick = "--config-settings=--build-option=--compression=stored"
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", quick, "--wheel-dir", out, sdist)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a clean venv that borrows the dependencies of this one; the venv's bin folder."""
    venv = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    bin_ = venv / ("Scripts" if os.name == "nt" else "bin")
    # Before the dependencies are lent: pip would find the editable Foreshock among them.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", bin_ / "python")
    run(*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    purelib = run(bin_ / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    # A folder named in a .pth file is searched, but its own .pth files, such as the editable finder's, are not read.
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(purelib) / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
    return bin_


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A folder such as a quant's own, whose modules are named like our rooms."""
    for name in ("model.py", "ingest.py", "monitor/__init__.py", "dashboard/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise RuntimeError('the decoy was imported')\n")
    return tmp_path


@pytest.mark.slow
def test_the_wheel_holds_foreshock_alone_and_every_file_of_its_rooms(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    assert {name.split("/")[0] for name in names} == {"foreshock", f"foreshock-{PROJECT['version']}.dist-info"}
    ours = {name for name in names if name.startswith("foreshock/")}
    package = ROOT / "foreshock"
    expected = {
        path.relative_to(ROOT).as_posix()
        for top in (package, *(path for path in package.iterdir() if path.is_symlink()))
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours == expected
    assert {
        "foreshock/py.typed",
        "foreshock/ingest/story.py",
        "foreshock/monitor/store/migrations/script.py.mako",
        "foreshock/monitor/topics/defaults.toml",
        "foreshock/monitor/topics/watchlist.csv",
    } <= ours
    assert {f"foreshock-{PROJECT['version']}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names


@pytest.mark.slow
def test_the_wheel_runs_in_a_clean_venv_beside_decoys_of_its_rooms(installed, decoys):
    python, command = installed / "python", installed / "foreshock"
    where = run(python, "-c", "import foreshock.ingest.story as s; print(s.__file__)", cwd=decoys).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert run(command, "--version", cwd=decoys).stdout == f"foreshock {PROJECT['version']}\n"
    assert "store.url" in run(command, "config", "show", cwd=decoys).stdout
    # `python -m` puts the folder first on the path.
    assert "topics. No errors." in run(python, "-m", "foreshock", "config", "check", cwd=decoys).stdout


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_beside_decoys_and_notices_its_crisis(installed, decoys):
    """The shipped encoder and the default settings, on a feed that neither was tuned on."""
    shown = run(installed / "foreshock", "demo", "--no-dashboard", "--seed", SEED, cwd=decoys, timeout=280).stdout
    assert "firing" in shown
    store = open_store(f"sqlite:///{decoys / show.STORE}")
    alerts = list(store.alerts())
    crisis = gravest(alerts, lambda alert: bad_news_beyond_the_usual(store, alert))
    incidents = list(store.incidents())
    store.close()
    verdict = judge(alerts, generator.truth(SEED))
    assert verdict["crisis_after_hours"] is not None
    assert verdict["crisis_after_hours"] <= 24
    assert verdict["decoys_that_alerted"] == []
    assert verdict["silence_found"]
    # In the weeks after learning, chance alone gives 4 at the default budget: 1 to 8.
    assert len(verdict["beyond_crisis_drift_silence"]) <= 8
    assert crisis is not None
    assert crisis["topic"] == generator.truth(SEED).crisis.topic
    # Each incident is sent when it begins, when it changes, and when it has ended.
    counted = re.search(r"(\d+) of (\d+) webhooks verified", shown)
    assert counted is not None
    verified, sent = int(counted[1]), int(counted[2])
    assert verified == sent
    assert sent >= len(incidents) + sum(incident["state"] == "ended" for incident in incidents) > 0


def test_a_checkout_whose_links_became_text_files_says_so(tmp_path):
    package = tmp_path / "foreshock"
    package.mkdir()
    shutil.copy(ROOT / "foreshock" / "__init__.py", package)
    (package / "ingest").write_text("../ingest")
    done = subprocess.run(
        [sys.executable, "-c", "import foreshock"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is a text file, not a link" in done.stderr
    assert "WSL" in done.stderr
    assert "wheel" in done.stderr


def test_every_dependency_is_pinned():
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    named = [*PROJECT["dependencies"], *(name for extra in PROJECT["optional-dependencies"].values() for name in extra)]
    assert {_name(requirement) for requirement in named} - pinned == set()


def test_the_version_is_stated_once_to_the_same_effect():
    import foreshock

    assert foreshock.__version__ == PROJECT["version"]


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()
