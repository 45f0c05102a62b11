"""Every TensorRT call exists in the real bindings of 10.12 and 11.4, with these arguments."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_tensorrt import STUBS, FakeTensorRT
from tests.support.paths import ROOT
from tests.support.tensorrt_stubs import stub_of

FILES = [
    "tasks/optimize/tensorrt.py",
    "tasks/optimize/tensorrt_callbacks.py",
    "tasks/optimize/verify.py",
    "cascade/engines/tensorrt.py",
    "cascade/engines/key.py",
]
CONFIG = """[mypy]
python_version = 3.11
strict = true
warn_unused_ignores = false
follow_imports = silent
[mypy-tensorrt]
ignore_errors = true
[mypy-onnx.*,torch.*,onnxruntime.*,modelopt.*,tqdm.*,yaml.*,pydantic.*,numpy.*]
follow_imports = skip
ignore_missing_imports = true
"""


def check(files: list[str], stub: str, work: Path) -> str:
    """Give mypy's complaints about attributes and arguments of TensorRT, with a version's names."""
    shutil.copyfile(STUBS / f"{stub}.pyi", work / "tensorrt.pyi")
    (work / "mypy.ini").write_text(CONFIG)
    codes = ["attr-defined", "call-arg", "arg-type", "call-overload", "union-attr", "assignment", "override"]
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(work / "mypy.ini"),
        "--cache-dir",
        str(work / "cache"),
    ]
    done = subprocess.run(
        [*command, *files],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(work)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if any(f"[{code}]" in line for code in codes))


@pytest.mark.slow
@pytest.mark.parametrize("stub", ["tensorrt_10_12", "tensorrt_11_4"])
def test_every_call_fits_the_bindings(stub: str, tmp_path: Path) -> None:
    assert check(FILES, stub, tmp_path) == ""
    # and the check would notice: a flag that 11 has lost, a name that never was, an argument too many
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import tensorrt\n"
        "def build(builder: tensorrt.Builder) -> None:\n"
        "    network = builder.create_network(0, 1)\n"
        "    builder.build_engine(network)\n"
        "    print(tensorrt.BuilderFlag.FP16)\n"
    )
    found = check([str(wrong)], stub, tmp_path)
    assert "Too many arguments" in found
    assert 'no attribute "build_engine"' in found
    assert ("FP16" in found) == (stub == "tensorrt_11_4")


def test_the_double_knows_what_11_has_lost() -> None:
    assert FakeTensorRT("tensorrt_10_12").BuilderFlag.FP16.name == "FP16"
    with pytest.raises(AttributeError, match="FP16"):
        _ = FakeTensorRT("tensorrt_11_4").BuilderFlag.FP16
    with pytest.raises(AttributeError, match="no attribute 'IInt8Calibrator'"):
        _ = FakeTensorRT("tensorrt_11_4").IInt8Calibrator


@pytest.mark.skipif(shutil.which("cc") is None, reason="the bindings load only beside libraries that cc can make")
def test_the_stub_is_what_the_installed_bindings_say(tmp_path: Path) -> None:
    bindings = importlib.metadata.distribution("tensorrt-cu13-bindings")
    assert bindings.version == "11.4.0.106"
    made = tmp_path / "made.pyi"
    made.write_text(stub_of(Path(str(bindings.locate_file(""))), tmp_path / "libraries"))
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "-q", "--config", str(ROOT / "pyproject.toml"), made], check=True
    )
    assert made.read_text() == (STUBS / "tensorrt_11_4.pyi").read_text()
