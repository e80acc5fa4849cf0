"""compose.yaml and Dockerfile, as far as they can be checked without a Docker engine; what they start is started by
`test_scaled_out.py` as processes."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer import TyperException

from foreshock.cli.app import app
from foreshock.settings import load

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "foreshock"}
LASTING = {name for name, service in SERVICES.items() if service["restart"] != "no"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def parse(words: list[str]) -> str:
    """The command that `foreshock WORDS` would run, its options parsed. Raises what the command line would refuse."""
    import typer

    command: Any = typer.main.get_command(app)
    context = command.make_context("foreshock", list(words))
    name, sub, rest = command.resolve_command(context, context._protected_args + context.args)
    sub.make_context(name, rest, parent=context)
    return str(name)


def test_it_starts_what_scaled_out_means() -> None:
    replicas = {name: service["deploy"].get("replicas", 1) for name, service in SERVICES.items() if name in LASTING}
    assert replicas == {"worker": 2, "monitor": 2, "dashboard": 1, "serve": 1, "kafka": 1, "postgres": 1}


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_is_one(name: str) -> None:
    assert parse(OURS[name]["command"]) == {"feed": "replay"}.get(name, name)


def test_a_command_that_does_not_exist_would_be_found() -> None:
    for words in (["worker", "--no-such-option"], ["wroker"], ["dashboard", "--port", "many"]):
        with pytest.raises(TyperException):
            parse(words)


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_every_container_are_good(name: str, tmp_path: Path) -> None:
    # A variable without a value is taken from the environment of `docker compose`.
    environ = {key: value for key, value in OURS[name]["environment"].items() if value is not None}
    (secret,) = COMPOSE["secrets"]
    assert environ["FORESHOCK_STORE__PASSWORD_FILE"] == f"/run/secrets/{secret}"
    assert secret in OURS[name]["secrets"]
    (tmp_path / "password").write_text("made up")
    environ["FORESHOCK_STORE__PASSWORD_FILE"] = str(tmp_path / "password")
    loaded = load.load(environ=environ).settings
    assert loaded.store.url.startswith("postgresql://foreshock:")
    assert loaded.kafka is not None
    assert loaded.kafka.bootstrap_servers == ("kafka:9092",)


def test_no_secret_stands_in_the_file() -> None:
    words = re.compile(r"password|secret|token", re.I)
    for service in SERVICES.values():
        named = {k: v for k, v in service.get("environment", {}).items() if words.search(k)}
        assert all(str(value).startswith("/run/secrets/") for value in named.values())


@pytest.mark.parametrize("name", sorted(LASTING))
def test_what_lasts_is_checked_and_limited_and_logs_no_disk_full(name: str) -> None:
    service = SERVICES[name]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]


def test_nothing_runs_as_root() -> None:
    for name, service in SERVICES.items():
        if name not in OURS:
            assert service["user"] not in {"root", "0"}
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+):\d+$", final, re.M)
    assert int(user) > 0


def test_what_is_kept_lies_in_named_volumes() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert sorted(mounted) == sorted(COMPOSE["volumes"]) == ["kafka", "postgres"]


def test_a_health_check_asks_where_its_process_listens() -> None:
    for name in ("worker", "monitor"):
        _, _, port = OURS[name]["environment"]["FORESHOCK_METRICS__LISTEN"].rpartition(":")
        assert f"http://127.0.0.1:{port}/healthz" in OURS[name]["healthcheck"]["test"][-1]
    for name in ("dashboard", "serve"):
        command = OURS[name]["command"]
        assert f":{command[command.index('--port') + 1]}/" in OURS[name]["healthcheck"]["test"][-1]


def test_only_this_machine_reaches_the_ports() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_others_wait_for_says_when_it_is_there() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            condition = "service_completed_successfully" if needed == "topic" else "service_healthy"
            assert how == {"condition": condition}


def test_the_topic_that_is_made_is_the_one_that_is_read() -> None:
    made = dict(word[2:].split("=", 1) for word in SERVICES["topic"]["command"][1:] if "=" in word)
    assert made["topic"] == OURS["worker"]["environment"]["FORESHOCK_KAFKA__TOPIC"]
    assert int(made["partitions"]) >= SERVICES["worker"]["deploy"]["replicas"]
    assert SERVICES["topic"]["image"] == SERVICES["kafka"]["image"]


def test_all_that_the_image_copies_is_there_and_let_through() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    copied = [part for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M) for part in line.split()[:-1]]
    assert set(copied) == let_through
    assert [part for part in copied if not (ROOT / part).exists()] == []
    # The rooms are links in foreshock/: what a link leads to must come too.
    links = {path.resolve().name for path in (ROOT / "foreshock").iterdir() if path.is_symlink()}
    assert links <= set(copied)
    assert not any(fnmatch.fnmatch("foreshock/settings.py", line) for line in ignore[2:] if not line.startswith("!"))


def test_the_image_has_the_torch_that_is_pinned() -> None:
    pinned = re.findall(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.M)
    assert len(pinned) == 1
    assert "grep -E '^torch==' constraints.txt" in DOCKERFILE
    arguments = re.findall(r"^ARG TORCH=(.+)$", DOCKERFILE, re.M)
    assert OURS["worker"]["build"]["args"]["TORCH"] == "${TORCH:-" + arguments[0] + "}"


def _compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, check=False)
            if done.returncode == 0:
                return command
    return None


def test_compose_takes_the_file() -> None:
    command = _compose()
    if command is None:
        pytest.skip("no docker compose: install Debian's docker-compose")
    done = subprocess.run([*command, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_settings_file_of_the_docs_lies_where_commands_look_for_it() -> None:
    (folder,) = re.findall(r"^WORKDIR (/srv\S+)$", DOCKERFILE, re.M)
    override = re.search(
        r"`compose\.override\.yaml`.*?```yaml\n(.*?)^```", (ROOT / "docs/compose.md").read_text(), re.M | re.S
    )
    assert override is not None
    services = yaml.safe_load(override[1])["services"]
    assert set(services) == {"worker", "monitor", "dashboard"}
    for service in services.values():
        assert service["volumes"] == [f"./foreshock.toml:{folder}/foreshock.toml:ro"]


def test_the_commands_of_the_docs_name_services_that_are_there() -> None:
    text = (ROOT / "docs/compose.md").read_text() + (ROOT / "compose.yaml").read_text()
    scaled = re.findall(r"--scale (\w+)=(\d+)", text)
    assert scaled
    for name, count in scaled:
        assert name in OURS
        (partitions,) = [word.partition("=")[2] for word in SERVICES["topic"]["command"] if "partitions" in word]
        assert int(count) <= int(partitions)
    (feed_mount,) = set(re.findall(r":(/feed/\S+):ro", text))
    assert feed_mount in OURS["feed"]["command"]
