"""Which extra brings a library, and the line that names it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from cascade import cli, extras
from cascade.config.ocr import OcrParams
from cascade.engines.base import EngineError
from cascade.engines.classifier import load_engine
from cascade.extras import MissingExtraError, command, explain, extra_of, require
from cascade.stages.ocr import OcrStage
from cascade.vlm.backend import InProcessVlm
from cascade.vlm.settings import read_settings
from tests.support import tiny, vlm_settings


@pytest.mark.parametrize(
    ("modules", "extra"),
    [
        (["torch"], "vlm"),  # every other extra has it too
        (["prefect"], "train"),
        (["sklearn"], "train"),  # the package is named otherwise
        (["ruamel"], "vlm"),
        (["awq"], "train"),
        (["fiftyone"], "mine"),
        (["diffusers"], "synth"),
        (["tensorrt"], "gpu"),
        (["huggingface_hub", "prefect"], "train"),  # the one that brings both
        (["fiftyone", "diffusers"], "all"),
        (["numpy"], None),  # of the base
        (["no_such_library"], None),
        (["fiftyone", "no_such_library"], None),
    ],
)
def test_the_smallest_extra_that_brings_them_all(modules: list[str], extra: str | None) -> None:
    assert extra_of(*modules) == extra


def test_without_the_metadata_no_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise PackageNotFoundError

    monkeypatch.setattr(extras, "metadata", absent)
    extras._extras.cache_clear()
    try:
        assert extra_of("torch") is None
    finally:
        extras._extras.cache_clear()


def test_all_absent_libraries_are_named_and_those_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: object() if name == "transformers" else None)
    with pytest.raises(MissingExtraError) as caught:
        require("the vlm", "torch", "transformers", "torchvision")
    assert str(caught.value) == (
        f"the vlm needs the extra `vlm` (not installed: torch, torchvision); `{command('vlm')}` adds it"
    )
    require("the vlm", "transformers")


@pytest.mark.parametrize(
    "build",
    [
        lambda folder: InProcessVlm(folder, read_settings(vlm_settings.write_settings(folder))),
        lambda folder: OcrStage(OcrParams(backend="florence2"), folder),
        lambda folder: load_engine(tiny.write_classifier(folder / "classifier"), "torch", "fp32", 1),
    ],
    ids=["vlm", "Florence-2", "torch"],
)
def test_what_runs_on_torch_names_the_extra_before_it_loads(
    build: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises((MissingExtraError, EngineError), match=r"needs the extra `vlm` \(not installed: torch"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModuleNotFoundError("No module named 'pyarrow.parquet'", name="pyarrow.parquet"), "the extra `train`"),
        (MissingExtraError("as it was said", name="torch"), "as it was said"),
        (ModuleNotFoundError("No module named 'tasks.gone'", name="tasks.gone"), None),  # a fault in our code
        (ModuleNotFoundError("no name"), None),
    ],
)
def test_failed_imports(error: ModuleNotFoundError, line: str | None) -> None:
    said = explain(error, "this command")
    assert said is None if line is None else line in str(said)


@pytest.mark.parametrize("module", ["fiftyone", "tasks.gone"])
def test_the_command_line_explains_what_an_extra_brings_and_nothing_else(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(cli, "app", fail)
    if module == "tasks.gone":
        with pytest.raises(ModuleNotFoundError, match=r"tasks\.gone"):
            cli.main()
        return
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert "the extra `mine`" in line
