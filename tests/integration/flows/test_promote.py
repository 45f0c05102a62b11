"""The first promotion and the ones after it: a real release, a real service, a real registry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cascade.api.process import status, stop
from cascade.release.store import Release, champion
from flows import promote as module
from flows.promote import promote
from tasks.config import load_params
from tasks.release.collect import RELEASES, assemble
from tasks.release.gate import GateError
from tasks.release.ledger import read
from tasks.release.registry import register
from tasks.release.smoke_test import GoldenImage, SmokeTestError, smoke_test
from tasks.release.tracking import connect
from tests.support import tiny
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]
STREET = GoldenImage("street.jpg", "roadwork", tiny.encoded(tiny.street(tiny.ORANGE)))


@pytest.fixture
def project(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose pipeline has run, as the current one; its service is stopped in the end."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["serve"]["port"] = 0
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (tmp_path / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    tiny.write_classifier(tmp_path / "models/classifier")
    (tmp_path / "var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "var" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    stop()


@pytest.fixture
def released(project: Path) -> Callable[[float], Release]:
    """Build and register a release whose challenge MCC is the given one."""

    def build(mcc: float) -> Release:
        report = project / "reports/validate/metrics.json"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps({"mcc": mcc, "accuracy": 0.9}), encoding="utf-8")
        release = assemble()
        register(load_params(), release, "flow")
        return release

    return build


def stands(release: Release | None) -> bool:
    """Whether pointer, service and alias agree on a release (None: on there being none)."""
    params = load_params()
    current, service = champion(RELEASES), status()
    aliases = connect(params.register_).get_registered_model(params.register_.model).aliases
    if release is None:
        return (current, service, aliases.get("champion")) == (None, None, None)
    assert current is not None
    assert service is not None
    answers = smoke_test(service.url, [STREET])[0].release
    version = connect(params.register_).get_model_version_by_alias(params.register_.model, "champion")
    return {current.id, service.release, answers, version.tags["streetvision.release"]} == {release.id}


def test_gate_first(released: Callable[[float], Release]) -> None:
    low = released(0.1)
    with pytest.raises(GateError, match=r"mcc 0\.1000 is below"):
        promote(low.id, "hope")
    assert stands(None)
    assert read() == []


def test_promotions_in_a_row(released: Callable[[float], Release]) -> None:
    one, two = released(0.8), released(0.9)
    promote(one.id, "first", who="ada")
    assert stands(one)
    before = status()
    promote(one.id, "again")
    assert status() == before, "the service was started anew"
    assert [(line.who, line.why, line.release, line.previous) for line in read()] == [("ada", "first", one.id, None)]

    promote(two.id, "second", who="bob")
    assert stands(two)
    assert [(line.release, line.previous) for line in read()] == [(one.id, None), (two.id, one.id)]

    # killed between pointer and ledger: the next run writes the line, and still knows what was replaced
    lines = Path("var/ledger.jsonl").read_bytes().splitlines(keepends=True)
    Path("var/ledger.jsonl").write_bytes(lines[0])
    promote(two.id, "repair")
    assert [(line.release, line.previous) for line in read()] == [(one.id, None), (two.id, one.id)]


@pytest.mark.parametrize("broken", ["start", "move_champion", "append"])
def test_a_failure_on_the_way_puts_the_old_release_back(
    released: Callable[[float], Release], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    one, two = released(0.8), released(0.9)
    promote(one.id, "first")
    whole = getattr(module, broken)
    calls: list[object] = []

    def fails_once(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError("disk full")
        return whole(*arguments, **named)

    monkeypatch.setattr(module, broken, fails_once)
    with pytest.raises(OSError, match="disk full"):
        promote(two.id, "second")
    assert stands(one)
    assert [line.release for line in read()] == [one.id]


def test_no_service_is_said() -> None:
    with pytest.raises(SmokeTestError, match="did not answer"):
        smoke_test("http://127.0.0.1:9", [STREET])
