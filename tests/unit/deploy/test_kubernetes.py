"""deploy/kubernetes: rendered by kustomize, checked by Kubernetes' own schemas, and held against the code.

No cluster runs here. The schemas are those of the release that `kubernetes-validate` ships.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cascade.api.access import PROBES
from cascade.api.auth import KEY_VARIABLE
from tasks.config import load_params
from tasks.config.stores import PASSWORDS, S3_KEYS
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
PARAMS = load_params(ROOT / "params.yaml")
VERSION = "1.37.0"
USER = 10001  # of deploy/docker/Dockerfile
needs_kustomize = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the kustomizations")


def rendered(folder: str) -> list[dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER / folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def base() -> list[dict[str, Any]]:
    """The base as it is applied."""
    return rendered("base")


def one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in documents if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def pod(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return dict(one(documents, "Deployment", name)["spec"]["template"]["spec"])


def container(documents: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = pod(documents, name)["containers"]
    return dict(found)


def job() -> dict[str, Any]:
    """The Job of a run, its variables filled with what they are by default."""
    template = yaml.safe_load((FOLDER / "pool.yaml").read_text(encoding="utf-8"))
    known = template["variables"]["properties"]
    given = {"command": ["python"], "env": [{"name": "A", "value": "b"}], "labels": {"a": "b"}, "name": "run"}
    return dict(_filled(template["job_configuration"]["job_manifest"], known, given))


def _filled(value: Any, known: dict[str, Any], given: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, known, given) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known, given) for item in value]
    if isinstance(value, str) and (found := re.fullmatch(r"\{\{ (\w+) \}\}", value)):
        return given.get(found[1], known[found[1]].get("default"))
    # a prefix, as of the name
    return value.replace("{{ name }}", given["name"]) if isinstance(value, str) else value


def pods(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All pods: those of deployments, and the one of a run."""
    yield from (item["spec"]["template"]["spec"] for item in [*documents, job()] if "template" in item.get("spec", {}))


@needs_kustomize
@pytest.mark.parametrize("folder", ["base", "overlays/gpu"])
def test_kubernetes_takes_it(folder: str) -> None:
    """No unknown key, no value of the wrong kind; strict, as the server is."""
    from kubernetes_validate import validate

    for document in [*rendered(folder), job()]:
        validate(document, VERSION, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # a key that does not exist
        (("spec", "template", "spec", "containers", 0, "readynessProbe"), {}),
        # a number where a name stands
        (("spec", "template", "spec", "serviceAccountName"), 3),
        # a kind of policy that does not exist
        (("spec", "strategy"), {"rollingUpdates": {}}),
    ],
)
def test_a_fault_is_found(path: tuple[Any, ...], value: Any) -> None:
    from kubernetes_validate import ValidationError, validate

    document = next(iter(yaml.safe_load_all((FOLDER / "base" / "service.yaml").read_text(encoding="utf-8"))))
    validate(document, VERSION, strict=True)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValidationError):
        validate(document, VERSION, strict=True)


@needs_kustomize
def test_the_service_is_that_of_the_code(base: list[dict[str, Any]]) -> None:
    found = container(base, "service")
    paths = {found[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"/readyz", "/healthz"}
    assert paths <= set(PROBES)
    assert found["livenessProbe"]["httpGet"]["path"] == "/healthz", "a busy service must not be killed"
    (port,) = found["ports"]
    assert port["containerPort"] == PARAMS.serve.port
    assert found["args"][found["args"].index("--port") + 1] == str(PARAMS.serve.port)
    assert {item["name"] for item in found["env"]} == {"RELEASE", KEY_VARIABLE}
    memory = PARAMS.memory.ram_gib + PARAMS.supervision.service_margin_gib
    assert found["resources"]["limits"]["memory"] == f"{memory:.0f}Gi"
    # the last requests are answered before the pod is killed
    sleep = found["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep >= found["readinessProbe"]["periodSeconds"]
    assert pod(base, "service")["terminationGracePeriodSeconds"] > sleep + PARAMS.serve.drain_seconds + 10
    limits = one(base, "Ingress", "service")["metadata"]["annotations"]
    assert limits["nginx.ingress.kubernetes.io/proxy-body-size"] == str(PARAMS.serve.max_request_bytes)
    wait = PARAMS.promotion.nginx.upstream_seconds
    assert limits["nginx.ingress.kubernetes.io/proxy-read-timeout"] == f"{wait:.0f}"


@needs_kustomize
def test_one_replica_may_go_and_one_stays(base: list[dict[str, Any]]) -> None:
    spec = one(base, "Deployment", "service")["spec"]
    budget = one(base, "PodDisruptionBudget", "service")["spec"]
    assert spec["replicas"] > budget["minAvailable"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert budget["selector"] == spec["selector"]
    assert one(base, "Service", "service")["spec"]["selector"] == spec["selector"]["matchLabels"]


@needs_kustomize
def test_servers_and_worker_are_those_of_the_code(base: list[dict[str, Any]]) -> None:
    from flows.server import container as servers
    from flows.server.setup import CLUSTER_POOL
    from flows.server.up import PROBES as PART_PROBES

    for name, port in servers.PORTS.items():
        found = container(base, name)
        assert found["args"] == ["python", "-m", servers.__name__, name]
        assert found["ports"][0]["containerPort"] == port
        assert one(base, "Service", name)["spec"]["ports"][0]["port"] == port
    assert container(base, "prefect")["readinessProbe"]["httpGet"]["path"] == PART_PROBES["prefect-server"]
    limits = PARAMS.supervision
    assert container(base, "prefect")["resources"]["limits"]["memory"] == f"{limits.prefect_gib:.0f}Gi"
    assert container(base, "mlflow")["resources"]["limits"]["memory"] == f"{limits.mlflow_gib:.0f}Gi"
    worker = container(base, "worker")
    assert worker["args"][worker["args"].index("--pool") + 1] == CLUSTER_POOL
    address = {item["name"]: item.get("value") for item in worker["env"]}["PREFECT_API_URL"]
    assert address == f"http://prefect:{servers.PORTS['prefect']}/api"


@needs_kustomize
def test_secrets_are_references_that_the_code_reads(base: list[dict[str, Any]]) -> None:
    assert not [item for item in base if item["kind"] == "Secret"]
    known = {*PASSWORDS.values(), *S3_KEYS, KEY_VARIABLE}
    for spec in pods(base):
        for variable in spec["containers"][0].get("env", ()):
            is_secret = re.search("PASSWORD|SECRET|KEY", variable["name"])
            assert bool(is_secret) == ("secretKeyRef" in variable.get("valueFrom", {})), variable
            if is_secret:
                assert variable["name"] in known
                assert variable["valueFrom"]["secretKeyRef"] == {"name": "streetvision", "key": variable["name"]}
    # each of the servers has what its stores need
    assert PASSWORDS["prefect"] in json.dumps(container(base, "prefect"))
    assert all(name in json.dumps(container(base, "mlflow")) for name in (PASSWORDS["mlflow"], *S3_KEYS))


@needs_kustomize
def test_no_pod_may_do_more_than_it_needs(base: list[dict[str, Any]]) -> None:
    assert f"USER {USER}:{USER}" in (ROOT / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
    found = list(pods(base))
    assert len(found) == 5
    for spec in found:
        whole, (inner,) = spec["securityContext"], spec["containers"]
        assert (whole["runAsNonRoot"], whole["runAsUser"]) == (True, USER)
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inner["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= inner["resources"]["requests"].keys() & inner["resources"]["limits"].keys()
        # what is written to is a volume
        assert "/tmp" in {mount["mountPath"] for mount in inner["volumeMounts"]}  # noqa: S108
        names = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in inner["volumeMounts"]} == names
        # only the worker asks the cluster for anything
        assert spec.get("serviceAccountName") == "worker" or spec["automountServiceAccountToken"] is False
    assert "*" not in json.dumps(one(base, "Role", "worker")["rules"])


@needs_kustomize
def test_the_overlay_asks_for_a_card() -> None:
    found = rendered("overlays/gpu")
    assert pod(found, "service")["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert container(found, "service")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nodeSelector" not in pod(found, "mlflow")


def test_the_deployment_runs_in_the_volume_of_the_pool() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    (found,) = (item for item in deployments if item["work_pool"]["name"] == "kubernetes")
    (step,) = found["pull"]
    (mounted,) = (item["mountPath"] for item in job()["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
                  if item["name"] == "checkout")  # fmt: skip
    assert step["prefect.deployments.steps.set_working_directory"]["directory"] == mounted
    template = yaml.safe_load((FOLDER / "pool.yaml").read_text(encoding="utf-8"))
    assert found["work_pool"]["job_variables"].keys() <= template["variables"]["properties"].keys()
    # promotions go by nginx of one machine
    assert found["parameters"]["promote_release"] is False


def test_prefect_makes_the_job_of_the_pool() -> None:
    """By the worker's own class, where the extra `kubernetes` is installed."""
    worker = pytest.importorskip("prefect_kubernetes.worker", exc_type=ImportError)
    template = yaml.safe_load((FOLDER / "pool.yaml").read_text(encoding="utf-8"))
    import asyncio

    made = asyncio.run(
        worker.KubernetesWorkerJobConfiguration.from_template_and_values(template, {"command": "python", "gpus": "1"})
    )
    limits = made.job_manifest["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"
