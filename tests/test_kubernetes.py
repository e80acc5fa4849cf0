"""deploy/kubernetes, as far as it can be checked without a cluster: kubectl renders it where there is one, and it is
compared with the schemas of Kubernetes, and with the commands and settings that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from test_compose import parse

from foreshock.dashboard.settings import LOOPBACK
from foreshock.ingest.kafka_settings import BrokerSettings
from foreshock.settings import load

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    one for name in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((FOLDER / name).read_text())
]
VERSION = "1.31"
"""An old version that is still used; what it accepts, newer ones do."""


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


DEPLOYMENTS = named("Deployment")


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    return found


def test_every_object_fits_the_schemas_of_kubernetes() -> None:
    checked = 0
    for one in OBJECTS:
        if one["apiVersion"].startswith("keda.sh"):
            continue
        kubernetes_validate.validate(one, VERSION, strict=True)
        checked += 1
    assert checked >= 8


def test_a_misspelt_field_would_be_found() -> None:
    wrong = json.loads(json.dumps(DEPLOYMENTS["worker"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolicyy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
def test_kubectl_renders_it() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered = [one for one in yaml.safe_load_all(done.stdout) if one]
    assert len(rendered) == len(OBJECTS) + 1
    assert {one["metadata"]["namespace"] for one in rendered} == {"foreshock"}
    for one in rendered:
        if one["kind"] == "Deployment":  # the docs wait for pods by it
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "foreshock"
    images = re.findall(r"image: (\S+)", done.stdout)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert images == [f"foreshock:{version}"] * 4


def test_it_starts_what_scaled_out_means() -> None:
    replicas = {name: one["spec"].get("replicas") for name, one in DEPLOYMENTS.items()}
    assert replicas == {"worker": None, "monitor": 2, "dashboard": 1, "serve": 2}, "KEDA sets the number of workers"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_container_runs_a_command_of_ours_with_few_rights(name: str) -> None:
    (container,) = pod(name)["containers"]
    assert parse(container["args"]) == name
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(name)["securityContext"]["runAsNonRoot"]
    assert pod(name)["automountServiceAccountToken"] is False
    user = re.search(r"^USER (\d+):", (ROOT / "Dockerfile").read_text(), re.M)
    assert user
    assert pod(name)["securityContext"]["runAsUser"] == int(user[1])
    assert container["resources"]["limits"]["memory"]
    assert pod(name)["terminationGracePeriodSeconds"] >= 15, "a stop takes up to 10 s, and 3 s for the last spans"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_probe_asks_a_port_and_path_that_are_served(name: str) -> None:
    (container,) = pod(name)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    served = {"metrics": {"/livez", "/readyz", "/healthz"}, "http": {"/_stcore/health"}}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] in served[asked["port"]]
        if name == "dashboard":  # to the address of a pod, the gate answers 403
            assert [header["value"] for header in asked["httpHeaders"] if header["name"] == "Host"] == ["localhost"]
            assert "localhost" in LOOPBACK
    if name != "dashboard":
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez", "a database that is away restarts nothing"
        assert ports["metrics"] == 9464


def test_services_and_policies_choose_pods_that_there_are() -> None:
    labels = {one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] for one in DEPLOYMENTS.values()}
    assert labels == set(DEPLOYMENTS)
    for name, service in named("Service").items():
        assert service["spec"]["selector"] == {"app.kubernetes.io/name": name}
        ports = {port["name"]: port["containerPort"] for port in pod(name)["containers"][0]["ports"]}
        assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(ports["http"], "http")]
    for policy in named("NetworkPolicy").values():
        (chosen,) = policy["spec"]["podSelector"]["matchExpressions"]
        assert set(chosen["values"]) <= labels
    assert named("PodDisruptionBudget")["monitor"]["spec"]["maxUnavailable"] == 1


def test_the_settings_are_good_and_their_files_are_mounted(tmp_path: Path) -> None:
    text = (FOLDER / "foreshock.toml").read_text()
    password = tomllib.loads(text)["store"]["password_file"]
    for name in DEPLOYMENTS:
        mounts = {mount["name"]: mount["mountPath"] for mount in pod(name)["containers"][0]["volumeMounts"]}
        assert Path(password).parent == Path(mounts["secrets"])
        assert mounts["settings"] == "/srv/foreshock", "the folder in which the image starts"
        sources = {volume["name"]: volume for volume in pod(name)["volumes"]}
        assert sources["settings"]["configMap"]["name"] == KUSTOMIZATION["configMapGenerator"][0]["name"]
        assert sources["secrets"]["secret"]["secretName"] in (FOLDER / "kustomization.yaml").read_text()
    (tmp_path / "postgres_password").write_text("secret")
    file = tmp_path / "foreshock.toml"
    file.write_text(text.replace(password, str(tmp_path / "postgres_password")))
    settings = load.load(file, environ={}).settings
    assert settings.metrics.address == ("", 9464)


def test_keda_watches_the_lag_that_the_workers_have() -> None:
    (scaled,) = named("ScaledObject").values()
    spec = scaled["spec"]
    assert spec["scaleTargetRef"] == {"name": "worker"}
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    (trigger,) = spec["triggers"]
    kafka = tomllib.loads((FOLDER / "foreshock.toml").read_text())["kafka"]
    assert trigger["type"] == "kafka"
    asked = trigger["metadata"]
    assert asked["bootstrapServers"] == kafka["bootstrap_servers"]
    assert asked["topic"] == kafka["topic"]
    assert asked["consumerGroup"] == BrokerSettings.model_fields["group"].default
    assert all(isinstance(value, str) for value in asked.values()), "KEDA takes texts"
    rate = json.loads((ROOT / "benchmarks" / "results" / "kafka.json").read_text())["stories_per_second"]
    assert 20 <= int(asked["lagThreshold"]) / rate <= 60, "half a minute of one worker's work, more or less"
