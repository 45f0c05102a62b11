"""The commands of README and tutorial, as they stand there, in a folder with a tiny release that serves."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.api.process import status
from tests.support import promotion, tiny
from tests.support.paths import ROOT
from tests.support.promotion import build, make_project

pytestmark = pytest.mark.e2e
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorial").glob("*.md"))]
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# what is not run here, and where it is
ELSEWHERE = {
    "make run": "flows/retrain.py: tests/integration/flows/test_retrain.py; the whole of it on fresh clones",
    "make demo": "tests/integration/tasks/tools/test_demo.py",
    "make test": "this is it",
    "make ui": "tests/integration/flows/test_deploy.py starts server, worker and deployments",
    "make experiments": "tests/integration/test_experiments.py",
    "make stop": "the end of the fixture calls the same function",
    "export EXTRAS": "needs NVIDIA's index",
    "dvc exp run": "tests/integration/test_experiments.py",
    "dvc status": "flows.dvc.graph.stale_stages: tests/integration/flows/test_retrain.py",
    "xdg-open": "tests/e2e/test_page.py opens the page in Chromium",
    "uv run python -m flows.mine_daily": "tests/integration/flows/test_mine_daily.py",
    "uv run streetvision review": "opens FiftyOne's App: tests/integration/tasks/mining",
    "my_photos/": "a layout, no command",
}


def commands() -> list[str]:
    """The commands of all pages, each once; comments and continued lines are put right."""
    text = "\n".join(block for page in PAGES for block in BLOCK.findall(page.read_text(encoding="utf-8")))
    lines = (re.sub(r"\s+# .*", "", line).strip() for line in text.replace("\\\n", " ").splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def test_each_is_run_here_or_elsewhere() -> None:
    here = [command for command in commands() if not any(command.startswith(known) for known in ELSEWHERE)]
    assert len(here) >= 10
    assert all(command.startswith(("uv run ", "curl ", "dvc ")) for command in here), here
    unused = [known for known in ELSEWHERE if not any(command.startswith(known) for command in commands())]
    assert unused == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[Path]:
    """A project whose champion serves, with a picture and labelled photographs."""
    folder = make_project(tmp_path_factory.mktemp("tutorial"), mlflow_database, front="none")
    for label, colour in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (folder / "my_photos" / label).mkdir(parents=True)
        for number in range(3):
            shade = tuple(max(0, part - 9 * number) for part in colour)
            (folder / "my_photos" / label / f"{number}.jpg").write_bytes(tiny.encoded(tiny.street(shade)))
    shutil.copyfile(folder / "my_photos/roadwork/0.jpg", folder / "street.jpg")
    (folder / "whole").mkdir()
    shutil.copyfile(ROOT / "params.yaml", folder / "whole" / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        promotion.promote(build(0.9))
        yield folder
        promotion.stop_all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [one for one in commands() if not any(one.startswith(known) for known in ELSEWHERE)]
)
def test_it_runs(folder: Path, command: str) -> None:
    service = status()
    assert service is not None
    # the environment is there already, the port is one that is free, and a commit has forty digits
    command = command.removeprefix("uv run ").replace("http://127.0.0.1:8080", service.url).replace("HASH", "a" * 40)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # the folder's own parameters leave out what has a default
    where = folder / "whole" if "profile" in command else folder
    done = subprocess.run(shlex.split(command), cwd=where, env=environment, capture_output=True, text=True, check=False)
    # the doctor finds that three pictures a label are few: a finding is its result
    expected = (0, 1) if "data check" in command else (0,)
    assert done.returncode in expected, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
