"""The miner as a part of `streetvision up`, kept by a real PM2, and its file of apps for PM2 alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

from cascade.process import part
from cascade.process.ready import answers, free_port
from deploy.pm2 import pm2
from tests.support.neuron import write_metagraph, write_wallet
from tests.support.paths import ROOT
from tests.support.pm2 import needs_pm2
from tests.support.promotion import make_project
from tests.support.up import ours, run_down, run_up, wait_for

pytestmark = [pytest.mark.integration, needs_pm2]


def neuron(before: int | None = None) -> int | None:
    noted = part.running("neuron")
    return noted.pid if noted and noted.pid != before else None


@pytest.mark.slow
def test_a_miner_that_dies_is_started_again(
    tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_project(tmp_path_factory.mktemp("mine"), mlflow_database)
    monkeypatch.chdir(folder)
    write_wallet(Path("wallets"))
    write_metagraph(Path("metagraph.json"))
    metrics = free_port("127.0.0.1", 18_792)
    section = {
        **{"metagraph": "metagraph.json", "wallet_path": "wallets", "wallet": "miner", "hotkey": "hot"},
        **{"host": "127.0.0.1", "port": free_port("127.0.0.1", 18_291), "metrics_port": metrics},
    }
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump({**params, "neuron": section}), encoding="utf-8")
    try:
        done = run_up("--only", "neuron")
        assert done.exit_code == 0, done.output
        assert f"http://127.0.0.1:{metrics}" in done.output
        first = neuron()
        assert first is not None
        psutil.Process(first).kill()
        wait_for(lambda: neuron(first), 60)
        assert wait_for(lambda: answers(f"http://127.0.0.1:{metrics}/metrics"), 120)
    finally:
        run_down()
    assert ours(folder) == []


def test_pm2_alone_can_run_it() -> None:
    found, file = pm2.find_pm2(), ROOT / "deploy/pm2/neuron.config.js"
    assert found is not None
    show = f"console.log(JSON.stringify(require({json.dumps(str(file))})))"
    (app,) = json.loads(subprocess.run([found[0], "-e", show], capture_output=True, check=True).stdout)["apps"]
    assert (app["script"], app["args"], app["cwd"]) == (str(ROOT / ".venv/bin/streetvision"), ["neuron"], str(ROOT))
    assert (app["interpreter"], app["autorestart"], app["pmx"]) == ("none", True, False)
    assert not [name for name in app if name == "env"], "keys stand in the machine's own environment"
    assert os.fspath(ROOT / "var/neuron.log") == app["out_file"]
