"""`simulate --axon`: bittensor's dendrite asks the axon of a miner process, which asks a real service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.neuron import mining
from tests.support.paths import ROOT
from tests.support.service import served

# the miner's process, and the validator's, import bittensor
pytestmark = [pytest.mark.integration, pytest.mark.slow]
STEPS = 12


def streets(folder: Path) -> Path:
    """Pictures that the tiny classifier tells apart, in class folders."""
    for name, colour in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (folder / name).mkdir(parents=True)
        for shade in range(0, 120, 20):
            data = tiny.encoded(tiny.street(colour, bottom=(shade, shade, shade)))
            (folder / name / f"{shade}.jpg").write_bytes(data)
    return folder


def test_an_axon_beside_its_service(tmp_path: Path) -> None:
    (tmp_path / "miner").mkdir()
    with served(tiny.write_release(tmp_path), tmp_path, 18480) as url, mining(tmp_path / "miner", url) as miner:
        given = ("--axon", f"127.0.0.1:{miner.port}/{miner.hotkey}", "--url", url)
        more = ("--pictures", streets(tmp_path / "streets"), "--steps", STEPS, "--repeats", 20, "--json")
        # a process of its own, as bittensor changes every logger of the process that imports it
        command = [sys.executable, "-m", "tasks.tools.simulate", *map(str, (*given, *more))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        ours, axon = found["miners"].values()
        assert list(found["miners"]) == [f"service {url.partition('://')[2]}", f"axon 127.0.0.1:{miner.port}"]
        # the same model answers behind both
        for name in ("mcc", "accuracy", "recall"):
            assert axon[name]["value"] == pytest.approx(ours[name]["value"], abs=1e-6)
        assert (axon["timeouts"], axon["errors"], axon["answered"]) == (0, {}, 1.0)
        # of an axon it is not known that it answers equal bytes equally
        assert found["timings"][f"axon 127.0.0.1:{miner.port}"]["requests"] == STEPS
