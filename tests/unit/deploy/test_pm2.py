"""What PM2 is given: a file that node reads, and an environment that reports nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cascade.process.part import Part
from deploy.pm2 import pm2
from deploy.pm2.pm2 import Pm2Error
from tests.support.paths import ROOT
from tests.support.pm2 import needs_pm2


@needs_pm2
def test_node_reads_the_apps(tmp_path: Path) -> None:
    command = ("python", "-c", """print('</script> "quoted" \\n')""")
    part = Part(name="one", command=command, log=tmp_path / "one.log", seconds=15, gib=2)
    file = tmp_path / "ecosystem.config.js"
    file.write_text(pm2.render([part, part.model_copy(update={"name": "two"})]), encoding="utf-8")
    found = pm2.find_pm2()
    assert found is not None
    show = f"console.log(JSON.stringify(require({json.dumps(str(file))})))"
    apps = json.loads(subprocess.run([found[0], "-e", show], capture_output=True, check=True).stdout)["apps"]
    assert [app["name"] for app in apps] == ["one", "two"]
    assert tuple(apps[0]["args"][-3:]) == command
    assert apps[0]["args"][:6] == ["-m", "cascade.process.part", "one", "15.0", "2.0", "--"]
    # the command's time and that of its guard
    assert (apps[0]["kill_timeout"], apps[0]["treekill"], apps[0]["autorestart"]) == (20000, False, True)
    assert apps[0]["out_file"] == apps[0]["error_file"] == str(tmp_path / "one.log")


def test_nothing_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PM2_PUBLIC_KEY", "KEYMETRICS_SECRET", "SECRET_KEY", "PM2_HOME"):
        monkeypatch.setenv(name, "x")
    given = pm2.environment(tmp_path)
    ours = {name: value for name, value in given.items() if name.startswith(("PM2_", "KEYMETRICS_", "SECRET"))}
    assert ours == {
        "PM2_HOME": str(tmp_path / "home"),
        "PM2_KILL_SIGNAL": "SIGTERM",
        "PM2_DISCRETE_MODE": "true",
        "PM2_DISABLE_VERSION_CHECK": "true",
        "PM2_NO_INTERACTION": "true",
    }


def test_a_folder_whose_socket_no_kernel_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pm2, "find_pm2", lambda: ["pm2"])
    with pytest.raises(Pm2Error, match="too long for a socket"):
        pm2.usable(tmp_path / ("x" * 110))


def test_the_lock_pins_all_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "deploy/pm2/package-lock.json").read_text(encoding="utf-8"))
    package = json.loads((ROOT / "deploy/pm2/package.json").read_text(encoding="utf-8"))
    assert lock["packages"]["node_modules/pm2"]["version"] == package["dependencies"]["pm2"]
    others = [one for name, one in lock["packages"].items() if name]
    assert all(one["integrity"].startswith("sha512-") for one in others)
    assert not any("resolved" in one for one in others)
