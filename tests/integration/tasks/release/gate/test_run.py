"""The gate from two real releases to its report: each kind of challenger is refused for its own reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.release.build import build_release
from cascade.release.store import Release
from tasks.common.files import sha256
from tasks.release.gate import (
    GateError,
    GateReport,
    HardCasePaths,
    read_report,
    remember_fixed,
    require,
    run_gate,
)
from tasks.validation import predictions
from tests.support import gate, tiny

pytestmark = pytest.mark.integration
EASY, HARD, UNKNOWN = gate.picture(120, gate.DAY, 900), gate.picture(21, gate.DAY, 901), gate.picture(12, gate.DAY, 902)
Run = Callable[..., GateReport]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a challenge set; the cache in it serves all tests."""
    folder = tmp_path_factory.mktemp("gate")
    gate.write_challenge(folder / "pulled")
    return folder


@pytest.fixture(scope="module")
def champion(root: Path) -> Release:
    """It misses faint roadwork: 24 of 192 views, of 6 of 48 places."""
    return gate.build(root, "champion", threshold=20)


@pytest.fixture
def run(root: Path, champion: Release, tmp_path: Path) -> Run:
    """Run the gate for a challenger; without hard cases where none are given."""

    def call(
        challenger: Release, against: Release | None = champion, max_drop: float = 0.05, **options: object
    ) -> GateReport:
        params = gate.gate_params(root, max_drop=max_drop)
        options.setdefault("hard_cases", HardCasePaths(tmp_path / "none", tmp_path / "none", tmp_path / "none"))
        return run_gate(params, challenger, against, out=tmp_path / "out", pulled=root / "pulled", **options)

    return call


@pytest.mark.parametrize(
    ("name", "options", "verdict", "failure", "text"),
    [
        # sees faint roadwork, and none by night
        ("night", {"threshold": 1, "dark": 5}, None, "slice", r"time night: accuracy 0\.5"),
        # the same answers, later
        ("slow", {"threshold": 20.01, "slow": True}, "no_worse", "latency", r"latency: latency \d+\.\d ms against"),
        # its export measured a gap
        pytest.param(
            *("gap", {"threshold": 20.01, "gap": 0.03}, "no_worse", "parity"),
            r"onnxruntime against torch.* is 0\.0300",
            marks=pytest.mark.slow,
        ),
        # faint roadwork is just above the threshold, and darker below
        pytest.param(
            *("edge", {"threshold": 11}, None, "invariance", r"darker is 0\.1250, more than 0\.1"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_each_is_refused_for_its_own_reason(
    run: Run, root: Path, name: str, options: dict[str, float], verdict: str | None, failure: str, text: str
) -> None:
    report = run(gate.build(root, name, **options), override="I want it", scheduled=False)
    assert report.failures == (failure,)
    assert verdict in (None, report.verdict)
    with pytest.raises(GateError, match=text) as caught:
        require(report)
    assert "\n" not in str(caught.value)


def test_a_worse_head_is_refused_although_it_keeps_every_limit(run: Run, root: Path, champion: Release) -> None:
    better = gate.build(root, "better", threshold=1)
    report = run(champion, better, max_drop=0.3, override="I want it", scheduled=False)
    assert (report.verdict, report.failures, report.passes) == ("worse", (), False)
    with pytest.raises(GateError, match=rf"worse than champion {better.id}: MCC -0\.\d+ \(-0\.\d+ to -0\.\d+\)"):
        require(report)
    assert not any(one.gained for one in report.changes)


def test_a_tampered_file_is_refused_before_anything_runs(run: Run, root: Path) -> None:
    release = gate.build(root, "tampered", threshold=1.5)
    model = release.folder / "classifier.onnx"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    report = run(release)
    assert (report.failures, report.passes, report.comparisons) == (("tampered",), False, ())
    assert "classifier.onnx: altered" in report.reason


def test_a_better_one_passes_and_its_report_shows_the_pictures_that_changed(
    run: Run, root: Path, tmp_path: Path
) -> None:
    report = run(gate.build(root, "better", threshold=1))
    require(report)
    assert (report.verdict, report.failures, report.views, report.places) == ("better", (), 192, 48)
    assert len(report.changes) == gate.FAINT
    assert all(one.gained and one.label == 1 and one.champion < 0.5 < one.challenger for one in report.changes)
    reward = report.comparison("reward")
    assert reward is not None
    assert (reward.challenger.value, reward.difference.low > 0) == (1.0, True)
    assert [one.name for one in report.costs] == ["latency", "memory"]
    # the sentence says what it is worth, with its interval and what it costs
    expected = report.comparison("expected_reward")
    assert expected is not None
    assert (expected.challenger.value, expected.margin) == (pytest.approx(1.0, abs=1e-6), None)
    assert f"worth {expected.difference.value:+.3f} reward (95 % interval" in report.reason
    assert re.search(r"at [+-]\d+ ms$", report.reason)
    # what was written is what was returned, and the page has the pictures, and asks for no other file
    assert read_report(tmp_path / "out") == report
    assert json.loads((tmp_path / "out/gate.json").read_text())["verdict"] == "better"
    page = (tmp_path / "out/gate.html").read_text()
    assert page.count("data:image/jpeg;base64,") == gate.FAINT
    assert page.count("data:image/png;base64,") == 4
    assert set(re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page)) == set()
    assert {one.key[:12] for one in report.changes} <= set(re.findall(r"\b[0-9a-f]{12}\b", page))


def test_identical_releases_are_no_worse_without_a_run(run: Run, champion: Release, root: Path) -> None:
    found = run(champion)
    assert (found.verdict, found.passes, found.comparisons) == ("no_worse", True, ())
    # low figures are not excused by it
    folder = tiny.write_classifier(root / "low")
    (root / "low.json").write_text(json.dumps({"mcc": 0.4, "accuracy": 0.9}))
    low = build_release(folder, root / "low.json", root / "releases", revision={"data": "d", "code": "c"})
    assert run(low, low).failures == ("floor",)
    # and the first release is held to floors alone
    assert run(low, None).failures == ("floor",)
    assert (run(champion, None).verdict, run(champion, None).passes) == ("first", True)


@pytest.mark.slow
def test_an_unchanged_champion_is_not_run_again(
    run: Run, root: Path, champion: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(gate.build(root, "better", threshold=1))
    folders: list[Path] = []
    whole = predictions.predict_challenge
    monkeypatch.setattr(
        predictions,
        "predict_challenge",
        lambda params, folder, pulled: folders.append(folder) or whole(params, folder, pulled),
    )
    challenger = gate.build(root, "third", threshold=2)
    run(challenger)
    assert folders == [challenger.folder]


@pytest.mark.slow
def test_hard_cases_that_were_once_fixed_must_pass(run: Run, root: Path, tmp_path: Path) -> None:
    paths = gate.write_hard_cases(tmp_path, {EASY: 1, HARD: 1, UNKNOWN: 1})
    # the champion answers two of the three; the challenger loses one of them
    lost = run(gate.build(root, "stricter", threshold=22), hard_cases=paths)
    assert [(one.key, one.required) for one in lost.must_pass] == sorted(
        (sha256(data), data != UNKNOWN) for data in (EASY, HARD, UNKNOWN)
    )
    assert lost.failures == ("must_pass",)
    assert f"1 of 2 required pictures are answered wrong: {sha256(HARD)[:12]}" in lost.reason
    # a better one fixes the third, and from then on nobody may lose it
    better = run(gate.build(root, "better", threshold=1), hard_cases=paths)
    assert better.passes
    file = root / "must_pass.csv"
    try:
        assert (remember_fixed(better, file), remember_fixed(better, file)) == (3, 0)
        again = run(gate.build(root, "slightly", threshold=20.01), hard_cases=paths)
        assert "1 of 3 required" in again.reason
    finally:
        file.unlink()


def test_a_champion_that_cannot_be_run_leaves_it_open_for_a_person(run: Run, root: Path) -> None:
    broken = gate.build(root, "broken", threshold=7)
    (broken.folder / "classifier.onnx").write_bytes(b"no model")
    better = gate.build(root, "better", threshold=1)
    assert not run(better, broken).passes
    report = run(better, broken, override="the disk of the champion is gone", scheduled=False)
    assert (report.verdict, report.passes) == ("inconclusive", True)
    assert "cannot be run" in report.reason
    assert "the disk of the champion is gone" in report.reason
