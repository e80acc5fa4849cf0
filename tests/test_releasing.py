"""A release: hashes, licences and the parts of `make release` that need no network."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import licences
import locking
import pytest
import release
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HASHED = (ROOT / "deploy" / "requirements.txt").read_text()
TORCH = (ROOT / "deploy" / "requirements-torch.txt").read_text()
PAGE = (ROOT / "docs" / "licences.md").read_text()


def versions(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M)}


def closure() -> set[str]:
    """The names of everything that the project and the extras of production need on this platform."""
    named = [*PROJECT["dependencies"]]
    for extra in locking.EXTRAS:
        named += PROJECT["optional-dependencies"][extra]
    found: set[str] = set()
    waiting = [Requirement(text) for text in named]
    while waiting:
        one = waiting.pop()
        extras = {"", *one.extras}
        name = canonicalize_name(one.name)
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *locking.EXTRAS)):
            continue
        if name in found and not one.extras:
            continue
        found.add(name)
        for text in requires(one.name) or ():
            below = Requirement(text)
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in extras):
                below.marker = None
                waiting.append(below)
    return found


def test_the_hashed_requirements_are_the_constraints_and_hold_all_that_is_needed() -> None:
    pinned, hashed = versions((ROOT / "constraints.txt").read_text()), versions(HASHED)
    ours = {name: version for name, version in hashed.items() if name in pinned}
    assert ours == {name: pinned[name] for name in ours}
    for name in hashed.keys() - pinned.keys():  # of other platforms alone
        assert re.search(rf"^{name}==\S+ ; ", HASHED, re.M), f"{name} is not in constraints.txt: run make lock"
    assert closure() - hashed.keys() - versions(TORCH).keys() == set(), "run make lock"
    for block in locking.blocks(HASHED + TORCH).values():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def test_torch_stands_apart_because_its_builds_have_different_hashes() -> None:
    assert "torch" in versions(TORCH)
    assert not {name for name in versions(HASHED) if locking.OF_TORCH.fullmatch(name)}


@pytest.mark.parametrize("name", ["deploy/requirements.txt", "deploy/requirements-torch.txt", "docs/licences.md"])
def test_what_was_written_names_no_index_and_no_machine(name: str) -> None:
    assert not re.search(r"https?:|file:|index-url|find-links|/(tmp|opt|home|work)/", (ROOT / name).read_text())


def test_every_package_that_is_installed_has_its_licence_listed() -> None:
    listed = {canonicalize_name(row[0]): row[1] for row in re.findall(r"^\| (\S+) \| (\S+) \| .+ \|$", PAGE, re.M)}
    assert closure() - listed.keys() == set(), "run make release"
    pinned = versions((ROOT / "constraints.txt").read_text())
    assert {name: version for name, version in listed.items() if pinned.get(name) != version} == {"package": "version"}


def package(name: str, licence: str) -> dict[str, str]:
    return {"Name": name, "Version": "1.0", "License": licence}


@pytest.mark.parametrize("licence", ["UNKNOWN", "GPLv3", "GNU General Public License v2 (GPLv2)", "AGPL-3.0-only"])
def test_a_licence_that_binds_or_is_unknown_stops_a_release(licence: str) -> None:
    with pytest.raises(SystemExit, match="half"):
        licences.page([package("good", "MIT"), package("half", licence)])


def test_other_licences_are_listed() -> None:
    rows = licences.page([package("b", "BSD\nLicense"), package("a", "LGPL-3.0-only")]).splitlines()[-2:]
    assert rows == ["| a | 1.0 | LGPL-3.0-only |", "| b | 1.0 | BSD License |"]
    assert "LGPLv3" in licences.page([package("c", "GNU Lesser General Public License v3 (LGPLv3)")])


def test_what_keeps_it_from_being_a_release_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = {"status": " M README.md\n", "tag": f"v{release.VERSION}\n"}
    monkeypatch.setattr(release, "run", lambda _git, what, *_, **__: said[what])
    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(f"## {release.VERSION} - unreleased\n")
    assert len(release.left_to_do(audited=3)) == 4
    (tmp_path / "CHANGELOG.md").write_text(f"## {release.VERSION} - 2026-12-01\n")
    said.update(status="", tag="")
    assert release.left_to_do(audited=0) == []


def test_the_bill_of_materials_names_no_place_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    component = {
        "name": "foreshock",
        "externalReferences": [{"url": "file:///tmp/x.whl"}, {"url": "https://a.example"}],
    }

    def made(*command: Any, **_: Any) -> str:
        bom = {"specVersion": "1.6", "components": [component], "metadata": {"component": {"name": "foreshock"}}}
        Path(command[-1]).write_text(json.dumps(bom))
        return ""

    monkeypatch.setattr(release, "run", made)
    monkeypatch.setattr(release, "DIST", tmp_path)
    release.bill_of_materials(tmp_path / "venv" / "bin")
    (written,) = tmp_path.iterdir()
    assert "file:" not in written.read_text()
    assert "https://a.example" in written.read_text()
    component["name"] = str(tmp_path / "venv")
    with pytest.raises(SystemExit, match="names a place"):
        release.bill_of_materials(tmp_path / "venv" / "bin")
