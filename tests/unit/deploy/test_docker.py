"""Dockerfile, compose.yaml and nginx.conf by linters, as no container engine runs here; each refuses a bad file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from deploy.nginx.front import find_nginx
from tests.support.nginx import needs_nginx
from tests.support.paths import ROOT

FOLDER = ROOT / "deploy" / "docker"
DOCKERFILE, COMPOSE = FOLDER / "Dockerfile", FOLDER / "compose.yaml"


def report(module: str, *arguments: str | Path) -> Any:
    """What a linter says as JSON."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def doctor(file: Path) -> set[str]:
    """The rules of dockerfile-doctor that a file breaks, less those of mere information."""
    (found,) = report("dockerfile_doctor", "--format", "json", "--severity", "warning", file)["files"]
    return {issue["ruleId"] for issue in found["issues"]}


def lint(file: Path) -> set[str]:
    """The rules of compose-lint that a file breaks."""
    return {one["rule_id"] for one in report("compose_lint", "check", "--format", "json", file)["findings"]}


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        # as it is
        ("", "", set()),
        # an image that changes under its name
        ("3.11.14-slim-bookworm", "latest", {"DD001"}),
        # root
        ("USER 10001:10001", "", {"DD008"}),
        # a package list that is left in the layer
        ("WORKDIR /app", "RUN apt-get update && apt-get install -y libgomp1", {"DD003", "DD004"}),
    ],
)
def test_dockerfile(tmp_path: Path, old: str, new: str, rules: set[str]) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(DOCKERFILE.read_text(encoding="utf-8").replace(old, new) if old else DOCKERFILE.read_text("utf-8"))
    assert doctor(file) == rules


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        # as it is: tags are no digests, which cannot be looked up here, and the limit of processors is the host's
        ("", "", set()),
        # opened to the network
        ("127.0.0.1:8080:8080", "8080:8080", {"CL-0005"}),
        # a root file system that can be written to
        ("read_only: true", "read_only: false", {"CL-0007"}),
        # rights that are not needed
        ("cap_drop: [ALL]", "privileged: true", {"CL-0002", "CL-0006"}),
    ],
)
def test_compose(tmp_path: Path, old: str, new: str, rules: set[str]) -> None:
    file, text = tmp_path / "compose.yaml", COMPOSE.read_text(encoding="utf-8")
    file.write_text(text.replace(old, new) if old else text)
    assert lint(file) == rules | {"CL-0019", "CL-0026"}


def test_compose_fits_the_specification() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="readonly"):
        PyCompose.from_yaml(text.replace("read_only", "readonly"))


def test_what_is_copied_is_what_docker_is_shown() -> None:
    """And files that hold a secret, or gigabytes, are not."""
    lines = [line.split() for line in DOCKERFILE.read_text(encoding="utf-8").splitlines()]
    copied = {name for line in lines if line[:1] == ["COPY"] and "--from=build" not in line for name in line[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
    assert not copied & {"var", "models", "data", ".env", "params.yaml"}


def test_limits_agree_with_params() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert f"client_max_body_size {params['serve']['max_request_bytes']};" in (FOLDER / "nginx.conf").read_text("utf-8")
    service = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["service"]
    assert int(service["mem_limit"].rstrip("g")) > params["memory"]["ram_gib"]
    assert int(service["stop_grace_period"].rstrip("s")) > params["serve"]["drain_seconds"] + 10


@needs_nginx
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    program, text = find_nginx(), (FOLDER / "nginx.conf").read_text(encoding="utf-8")
    assert program is not None
    (file := tmp_path / "nginx.conf").write_text(text.replace("/tmp/", f"{tmp_path}/"))  # noqa: S108 - of the container
    done = subprocess.run([program, "-t", "-e", "stderr", "-c", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
