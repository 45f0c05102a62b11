"""Claims, the state of a check, and the exit code of a run."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.gpu_check.judge import claims
from tasks.gpu_check.plan import checks_of, left_out
from tasks.gpu_check.run import Outcome
from tasks.gpu_check.show import document, passed, state_of, table
from tasks.gpu_check.work import Check, Figures
from tasks.tools.gpu_check import TINY, read_profile
from tests.support.paths import ROOT

CHANGES = {
    **{f"timeouts.{name}": seconds for name, seconds in (("classifier", 4), ("detectors", 3), ("vlm", 4), ("ocr", 3))},
    "timeouts.batch": 8, "export.batch": {"minimum": 1, "optimum": 4, "maximum": 32}, "memory.gpu_gib": 22,
    "memory.ram_gib": 24, "serve.deadline_seconds": 6,
}  # fmt: skip


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(ROOT)
    return read_profile("gpu24", CHANGES)


def outcome(name: str, *, state: str = "measured", reason: str = "", **figures: Any) -> Outcome:
    check = Check(name, "a model", "nowhere:none", "serve", (), 1)
    given = {
        "precision": "bfloat16",
        "million_parameters": 1,
        "load_seconds": 1,
        "ms": {1: 9.0},
        "peak_gib": 1,
        **figures,
    }
    measured = Figures.model_validate(given) if state == "measured" else None
    return Outcome(check, state, measured, reason, 1.0)  # type: ignore[arg-type]


def whole_cascade(slow: str = "") -> list[Outcome]:
    """All stages at 1 s a picture; the slow one takes 4 s."""
    names = ("classifier", "yolo", "detr", "vlm", "ocr")
    return [outcome(name, ms={1: 4000.0 if name == slow else 1000.0}) for name in names]


@pytest.mark.parametrize(
    ("outcomes", "key", "measured", "holds"),
    [
        # memory, of what serves and of what is trained
        ([outcome("yolo training", peak_gib=27.0, step_ms=1, step_pictures=16)], "memory.gpu_gib", 27.0, False),
        ([outcome("vlm", peak_gib=19.3)], "memory.gpu_gib", 19.3, True),
        # the largest call of stage 1 is that of export.batch.maximum; larger ones are measured for their rate
        ([outcome("classifier", ms={1: 2.0, 32: 3900.0, 64: 9000.0})], "timeouts.classifier", 3.9, True),
        ([outcome("classifier", ms={1: 2.0, 32: 4100.0})], "timeouts.classifier", 4.1, False),
        # the quicker way counts
        ([outcome("classifier", ms={1: 9.0, 32: 4100.0}, graph_ms={32: 100.0})], "timeouts.classifier", 0.1, True),
        # the two detectors are asked one after the other
        (
            [outcome("yolo", ms={8: 1600.0, 16: 9999.0}), outcome("detr", ms={8: 1500.0})],
            "timeouts.detectors", 3.1, False,
        ),
        ([outcome("ocr", ms={1: 5400.0, 8: 43000.0})], "timeouts.ocr", 43.0, False),
        ([outcome("vlm clips", ms={1: 3000.0})], "timeouts.vlm", 3.0, True),
        # one picture through all stages
        (whole_cascade(), "serve.deadline_seconds", 5.0, True),
        (whole_cascade("ocr"), "serve.deadline_seconds", 8.0, False),
    ],
)  # fmt: skip
def test_claims(outcomes: list[Outcome], key: str, measured: float, holds: bool, params: Any) -> None:
    (found,) = [one for one in claims(outcomes, params, "cuda") if one.key == key][:1]
    assert (pytest.approx(found.measured), found.holds) == (measured, holds)
    assert key in str(found)


def test_an_answer_that_is_neither_yes_nor_no_has_the_same_limit(params: Any) -> None:
    found = claims([outcome("vlm", ms={1: 100.0}, longest_ms=4100.0)], params, "cuda")
    assert [one.holds for one in found if one.key == "timeouts.vlm"] == [True, False]


def test_tiny_models_say_nothing_about_time(params: Any) -> None:
    found = claims(whole_cascade("ocr"), params, "cpu", tiny=True)
    assert {one.key for one in found} == {"memory.ram_gib"}


def test_on_a_processor_main_memory_is_claimed(params: Any) -> None:
    (found,) = claims([outcome("sdxl", peak_gib=23.0)], params, "cpu")
    assert (found.key, found.limit) == ("memory.ram_gib", 24)


@pytest.mark.parametrize(
    ("outcomes", "states", "code_0"),
    [
        ([outcome("vlm", ms={1: 100.0})], ["ok"], True),
        # a claim that does not hold
        ([outcome("vlm", ms={1: 100.0}, peak_gib=23.0)], ["broken"], False),
        ([outcome("vlm", state="failed", reason="RuntimeError")], ["failed"], False),
        ([outcome("vlm"), outcome("ocr", state="not run")], ["ok", "not run"], False),
        # what is not installed is no failure, but alone it is no success
        ([outcome("vlm"), outcome("ocr", state="not installed")], ["ok", "not installed"], True),
        ([outcome("ocr", state="not installed")], ["not installed"], False),
        ([], [], False),
    ],
)
def test_states_and_exit_code(outcomes: list[Outcome], states: list[str], code_0: bool, params: Any) -> None:
    judged = claims(outcomes, params, "cuda")
    assert [state_of(one, judged) for one in outcomes] == states
    assert passed(outcomes, judged) == code_0
    found = document(outcomes, judged, profile="gpu24", device="cuda", tiny=False, card=None)
    assert found["passed"] == code_0
    assert [row["state"] for row in found["checks"]] == states


def test_the_table_says_why(params: Any) -> None:
    from rich.console import Console

    outcomes = [
        outcome("vlm", ms={1: 100.0, 8: 400.0}, peak_gib=23.0),
        outcome("ocr", state="failed", reason="ended by SIGSEGV"),
        outcome("yolo training", step_ms=408.4, step_pictures=16, note="a note"),
    ]
    console = Console(width=200, record=True)
    console.print(table(outcomes, claims(outcomes, params, "cuda")))
    text = console.export_text()
    for words in ("100.00", "20.0 (8)", "above memory.gpu_gib = 22 GiB", "ended by SIGSEGV", "408 (16)", "a note"):
        assert words in text


@pytest.mark.parametrize(
    ("profile", "changes", "absent", "reasons"),
    [
        ("gpu24", {}, set(), 1),
        ("gpu24", TINY, set(), 1),
        ("gpu24", {"vlm.backend": "off", "vlm.clip_model": None}, {"vlm", "vlm clips"}, 1),
        ("gpu24", {"vlm.clip_model": None, "vlm.backend": "transformers"}, {"vlm clips"}, 0),
        # its small models run on a processor
        ("sample", {}, {"conv head", "vlm", "vlm clips", "ocr", "sdxl"}, 3),
    ],
)
def test_the_checks_of_a_profile(
    profile: str, changes: dict[str, Any], absent: set[str], reasons: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    params = read_profile(profile, changes)
    everything = {
        *("classifier", "conv head", "adapt", "yolo", "yolo training", "detr", "detr training"),
        *("vlm", "vlm clips", "ocr", "sdxl"),
    }
    assert {one.name for one in checks_of(params)} == everything - absent
    assert len(left_out(params)) == reasons
    # all of them at their limits take longer than a run may, one or two that hang do not
    assert all(one.seconds <= 90 for one in checks_of(params))
