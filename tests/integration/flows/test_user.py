"""A user id without a name, as in a container with `--user 12345`: DVC and MLflow as our flows use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STAGES = "stages:\n  one:\n    cmd: touch one.txt\n    outs: [one.txt]\n"
CODE = """
import getpass, os, sys
from pathlib import Path
assert os.getuid() == 12345
from flows.dvc.graph import dvc_command, read_pipeline, stage_environment, stale_stages
from cascade.process.supervisor import run
folder = Path(sys.argv[1])
assert stale_stages(read_pipeline(folder)) == {"one"}
done = run(dvc_command("repro"), cwd=folder, env=stage_environment())
assert done.returncode == 0, done.stdout
from tasks.config import load_params
from tasks.release.tracking import connect
connect(load_params(Path(sys.argv[2])), folder).create_experiment("one")
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{folder}/var/mlflow.db")
with mlflow.start_run():
    pass
print(getpass.getuser())
"""


def without_name(*command: str) -> list[str]:
    """The command line in a user namespace that maps this user to an id without a name."""
    return ["unshare", "--user", "--map-user=12345", "--map-group=12345", *command]


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(without_name("true"), check=False).returncode != 0,
    reason="no user namespaces on this machine",
)
def test_dvc_and_mlflow(dvc_repository: Callable[[str], Path], mlflow_database: Path) -> None:
    folder = dvc_repository(STAGES)
    (folder / "var").mkdir()
    shutil.copy(mlflow_database, folder / "var" / "mlflow.db")
    environment = {
        key: value for key, value in os.environ.items() if key not in ("LOGNAME", "USER", "LNAME", "USERNAME")
    }
    command = without_name(sys.executable, "-W", "ignore", "-c", CODE, str(folder), str(ROOT / "params.yaml"))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "uid-12345"
