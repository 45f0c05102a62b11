"""The environment of the renderers: made once, whole or not at all, by a stand-in for uv that notes its calls."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.data.schema import DataError
from tasks.synthesis import blender_python as module
from tasks.synthesis.blender_python import ENVIRONMENTS, OWN_UV, PYTHON, blender_python
from tasks.synthesis.renderer import SCRIPT
from tests.support.synthesis import ROOT

CUTOUTS = SCRIPT.with_name("cutouts.py")
# what the renderer asks of uv: a virtual environment, then the packages of a script within it
UV = f"""#!{sys.executable}
import sys, time
from pathlib import Path
with open("calls.log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "venv":
    folder = next(Path(arg) for arg in sys.argv if "part-" in arg)
    (folder / "bin").mkdir()
    (folder / "bin/python").write_text("made")
    time.sleep(0.1)
elif Path("broken").exists():
    sys.exit(2)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with our own uv, and none on the machine."""
    monkeypatch.delenv(PYTHON, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    OWN_UV.parent.mkdir(parents=True)
    OWN_UV.write_text(UV)
    OWN_UV.chmod(0o755)
    return tmp_path


def calls() -> list[str]:
    return [line.split()[0] for line in Path("calls.log").read_text().splitlines()]


def test_an_interpreter_that_is_set_needs_no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    OWN_UV.unlink()
    monkeypatch.setenv(PYTHON, "/opt/blender/python")
    assert blender_python(SCRIPT) == "/opt/blender/python"


def test_no_uv_says_what_to_install() -> None:
    OWN_UV.unlink()
    with pytest.raises(DataError, match=r"pip install --target var/uv uv.*bpy"):
        blender_python(SCRIPT)


def test_script_without_metadata_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("import bpy\n")
    with pytest.raises(DataError, match=r"plain\.py: no inline metadata"):
        blender_python(tmp_path / "plain.py")


def test_made_once_for_scripts_of_the_same_dependencies(tmp_path: Path) -> None:
    first = blender_python(SCRIPT)
    assert Path(first).read_text() == "made"
    assert blender_python(CUTOUTS) == first
    assert calls() == ["venv", "pip"]
    # another dependency is another environment
    other = tmp_path / "other.py"
    other.write_text(SCRIPT.read_text().replace("pillow>=11", "pillow>=12"))
    assert blender_python(other) != first


def test_two_at_once_make_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(blender_python, [SCRIPT, CUTOUTS] * 2))
    assert len(found) == 1
    assert calls() == ["venv", "pip"]


def test_one_that_failed_halfway_is_made_again() -> None:
    Path("broken").touch()
    with pytest.raises(DataError, match=r"uv pip install.*exit 2.*bpy"):
        blender_python(SCRIPT)
    assert [path.parts[-3][:5] for path in ENVIRONMENTS.glob("*/bin/python")] == ["part-"]  # none that looks ready
    Path("broken").unlink()
    assert Path(blender_python(SCRIPT, offline=True)).is_file()
    assert calls() == ["venv", "pip"] * 2
    assert not list(ENVIRONMENTS.glob("part-*"))


@pytest.mark.parametrize("given", [[], ["missing.py"]])
def test_the_tool_names_a_script_that_is_missing(given: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tasks.tools.blender", *given], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert "usage" in done.stderr


def test_blender_version_is_that_of_the_scripts() -> None:
    for script in (SCRIPT, CUTOUTS):
        assert f'"bpy=={module.BPY}"' in script.read_text()
