"""The flows of promotion and rollback: a real release, a real service, a real registry, with and without nginx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.api.process import status
from flows.promote import promote
from flows.rollback import rollback
from tasks.release.gate import GateError
from tasks.release.ledger import read
from tasks.release.smoke_test import GoldenImage, SmokeTestError, smoke_test
from tests.support import promotion
from tests.support.promotion import Standing, build, leftovers, make_project, standing

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def project(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose pipeline has run, as the current one, without nginx; its service is stopped in the end."""
    make_project(tmp_path, mlflow_database, front="none")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    promotion.stop_all()


@pytest.mark.usefixtures("project")
def test_gate_first(caplog: pytest.LogCaptureFixture) -> None:
    low = build(0.1)
    with pytest.raises(GateError, match=r"mcc 0\.1000 is below"):
        promote(low.id, "hope")
    said = [record for record in caplog.records if record.levelname == "ERROR" and record.name == "prefect.flow_runs"]
    assert [record.getMessage().startswith("failed: ") for record in said if "mcc" in record.getMessage()] == [True]
    assert [record.exc_info for record in said] == [None] * len(said), "a traceback"
    assert standing() == Standing(None, None, None, None, None)
    assert read() == []


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_promotions_in_a_row_without_a_front() -> None:
    one, two = build(0.8), build(0.9)
    promote(one.id, "first", who="ada")
    assert standing().is_(one.id)
    before = status()
    promote(one.id, "again")
    assert status() == before, "the service was started anew"
    assert [(line.who, line.why, line.release, line.previous) for line in read()] == [("ada", "first", one.id, None)]

    promote(two.id, "second", who="bob")
    assert standing().is_(two.id)
    assert leftovers() == []
    assert [(line.release, line.previous, line.front) for line in read()] == [
        (one.id, None, "none"),
        (two.id, one.id, "none"),
    ]
    assert [line.run is not None for line in read()] == [True, True]

    # the ledger lost its last line: the next run writes it, still knows what was replaced, and stops nothing
    lines, before = Path("var/ledger.jsonl").read_bytes().splitlines(keepends=True), status()
    Path("var/ledger.jsonl").write_bytes(lines[0])
    promote(two.id, "repair")
    assert [(line.release, line.previous) for line in read()] == [(one.id, None), (two.id, one.id)]
    assert status() == before

    rollback("worse at night")
    assert standing().is_(one.id)
    assert (read()[-1].action, read()[-1].why) == ("rollback", "worse at night")


def test_no_service_is_said() -> None:
    with pytest.raises(SmokeTestError, match="did not answer"):
        smoke_test("http://127.0.0.1:9", [GoldenImage("street.jpg", "roadwork", promotion.pictures()[0][0])])
