"""What batch runs leave is exposed once, and a damaged or foreign file costs its own series alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cascade.metrics.series import SERVICE, Series
from cascade.metrics.service import Metrics
from cascade.metrics.textfiles import MAX_BYTES, TextFiles, read
from tests.support.metrics import naming_faults

GOOD = """# HELP streetvision_flow_age_days Age
# TYPE streetvision_flow_age_days gauge
streetvision_flow_age_days{flow="%s"} %d
"""


def exposed(folder: Path | None) -> str:
    registry = CollectorRegistry()
    registry.register(TextFiles(folder))
    return generate_latest(registry).decode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\xff\xfe", "utf-8"),  # no text
        (b"<html>", "text format"),  # another format
        (b'streetvision_x{a="b" 1\n', "text format"),  # cut short
        (b"streetvision_x\n", "text format"),  # no value
        (b"node_load1 0.3\n", "series of the pipeline alone"),  # foreign
        (b"streetvision_ready 0\n", "series of the pipeline alone"),  # would repeat a series of the service
        (b"# TYPE streetvision_requests counter\nstreetvision_requests_total 1\n", "pipeline alone"),  # so would this
        (b"#" * (MAX_BYTES + 1), "larger than"),  # not one of ours
    ],
)
def test_a_bad_file_is_counted_and_left_out(data: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "bad.prom").write_bytes(data)
    (tmp_path / "good.prom").write_text(GOOD % ("mine", 3))
    with pytest.raises(ValueError, match=problem):
        read(tmp_path / "bad.prom")
    text = exposed(tmp_path)
    assert "streetvision_textfile_unreadable_files 1.0" in text
    assert 'streetvision_flow_age_days{flow="mine"} 3.0' in text
    assert 'modified_timestamp_seconds{file="bad"}' not in text


def test_files_of_one_name_become_one_family(tmp_path: Path) -> None:
    for name, flow in (("a", "mine"), ("b", "retrain"), ("c", "mine")):
        (tmp_path / f"{name}.prom").write_text(GOOD % (flow, ord(name)))
    (tmp_path / "d.prom.123").write_text("a writer is at work")
    text = exposed(tmp_path)
    assert text.count("# TYPE streetvision_flow_age_days gauge") == 1
    # a series that two files have counts once: Prometheus refuses a scrape that holds it twice
    assert [line for line in text.splitlines() if line.startswith("streetvision_flow_age_days")] == [
        'streetvision_flow_age_days{flow="mine"} 97.0',
        'streetvision_flow_age_days{flow="retrain"} 98.0',
    ]


@pytest.mark.parametrize("folder", [None, Path("/nowhere/at/all")])
def test_no_folder_is_no_error(folder: Path | None) -> None:
    assert "streetvision_textfile_unreadable_files 0.0" in exposed(folder)


def test_the_service_adds_the_files(tmp_path: Path) -> None:
    (tmp_path / "mine.prom").write_text(GOOD % ("mine", 3))
    assert b'streetvision_flow_age_days{flow="mine"} 3.0' in Metrics(tmp_path).text()


@pytest.mark.parametrize("series", SERVICE, ids=lambda one: one.name)
def test_names_follow_the_rules(series: Series) -> None:
    assert naming_faults(series) == []
