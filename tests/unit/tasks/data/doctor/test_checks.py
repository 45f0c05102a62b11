"""Every check on sets that have its fault, and on their neighbours that have not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cascade.evaluate.scores import constant_answer
from tasks.data.doctor.balance import check_balance
from tasks.data.doctor.findings import Finding
from tasks.data.doctor.leak import check_sources, score_sources
from tasks.data.doctor.order import check_order
from tasks.data.doctor.report import Other, examine_set
from tasks.data.doctor.twins import check_against, check_twins, find_twins, find_twins_against
from tasks.data.examine import Facts
from tasks.data.readers import Rejected
from tests.support.doctor import facts

BITS = 4


def levels(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.check) for one in findings]


def balanced(count: int = 80, **given: Any) -> list[Facts]:
    """Labels by turns."""
    return [facts(number, number % 2, **given) for number in range(count)]


def with_share(roadwork: int, clear: int) -> list[Facts]:
    return [facts(number, int(number < roadwork)) for number in range(roadwork + clear)]


@pytest.mark.parametrize(
    ("roadwork", "clear", "expected"),
    [
        (50, 50, []),
        # the committed sample has 46.5 %
        (465, 535, []),
        (60, 40, []),
        (61, 39, [("warning", "prior")]),
        # NATIX
        (805, 195, [("warning", "prior")]),
        (10, 90, [("warning", "prior")]),
        (40, 0, [("error", "labels")]),
        (0, 40, [("error", "labels")]),
        (0, 0, [("error", "labels")]),
    ],
)
def test_balance(roadwork: int, clear: int, expected: list[tuple[str, str]]) -> None:
    assert levels(check_balance(with_share(roadwork, clear))) == expected


def test_the_constant_answer_is_worth_what_the_subnet_pays() -> None:
    # (0.5 * 0 + 0.5 * 0.898)^3
    assert constant_answer(0.898) == {"accuracy": 0.898, "mcc": 0.0, "reward": pytest.approx(0.0905, abs=1e-4)}
    assert constant_answer(0.1)["accuracy"] == 0.9
    (finding,) = check_balance(with_share(80, 20))
    assert "80.0 % is roadwork" in finding.message
    assert "accuracy 0.800 here, MCC 0 and reward 0.064" in finding.message


def test_a_split_without_a_label_is_named() -> None:
    pictures = [facts(n, n % 2, split="train") for n in range(40)] + [facts(99, 1, split="challenge")]
    (finding,) = check_balance(pictures)
    assert finding.level == "error"
    assert "challenge has no clear picture" in finding.message
    assert "calibration has no clear picture" in finding.message


def sequence(labels: Sequence[int], origin: str = "train.parquet") -> list[Facts]:
    return [facts(number, label, origin=origin) for number, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        # as the Hub has NATIX
        (sequence([0] * 20 + [1] * 80), True),
        (sequence([1] * 30 + [0] * 30), True),
        # two sorted files, one after the other
        (sequence([0] * 100 + [1] * 100 + [0] * 100 + [1] * 100), True),
        # by turns, shuffled, and drives of ten frames with one label each
        (sequence([0, 1] * 40), False),
        (sequence(list(np.random.default_rng(1).integers(0, 2, 200))), False),
        (sequence([label for drive in range(40) for label in [drive % 2] * 10]), False),
        # too few to tell
        (sequence([0] * 5 + [1] * 5), False),
        # a class folder has one label by design
        (sequence([0] * 50 + [1] * 50, origin="set/clear"), False),
        (sequence([0] * 50 + [1] * 50, origin="set/manifest.csv"), True),
        # one label: another check says so
        (sequence([1] * 50), False),
    ],
)
def test_sorted_files(pictures: list[Facts], expected: bool) -> None:
    found = [one for one in check_order(pictures) if one.message.startswith("sorted by label")]
    assert bool(found) == expected


def test_shards_of_one_split_are_one_sequence() -> None:
    first = sequence([0] * 40, "data/train-00000-of-00002.parquet")
    second = sequence([1] * 60, "data/train-00001-of-00002.parquet")
    (finding,) = check_order([*first, *second])
    assert "sorted by label: data/train-*.parquet" in finding.message


def test_files_of_one_label_are_named() -> None:
    (finding,) = check_order([*sequence([0] * 40, "streets.parquet"), *sequence([1] * 40, "works.parquet")])
    assert (finding.level, finding.check) == ("warning", "order")
    assert "one label alone: streets.parquet, works.parquet" in finding.message


def noisy(value: Callable[[int], Any], key: str, wrong: int = 0) -> list[Facts]:
    """A property that follows the label, but for the first `wrong` pictures."""
    return [facts(n, n % 2, **{key: value(n % 2 if n >= wrong else 1 - n % 2)}) for n in range(100)]


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        # nothing differs but noise
        (balanced(200), False),
        (noisy(lambda label: ["Canon EOS", "Apple iPhone"][label], "camera"), True),
        (noisy(lambda label: ["sdxl", "real"][label], "source"), True),
        (noisy(lambda label: [640, 4032][label], "width"), True),
        (noisy(lambda label: ["PNG", "JPEG"][label], "format"), True),
        # 10 of 100 are otherwise: 0.9
        (noisy(lambda label: ["a", "b"][label], "camera", 10), True),
        # 40 of 100: 0.6
        (noisy(lambda label: ["a", "b"][label], "camera", 40), False),
        # two cameras that both have both labels
        ([facts(n, n % 2, camera=["a", "b"][n // 2 % 2]) for n in range(100)], False),
        # 90 % of one label: the share alone is no finding
        ([facts(n, int(n % 10 > 0)) for n in range(400)], False),
        # too few
        (noisy(lambda label: ["a", "b"][label], "camera")[:20], False),
    ],
)
def test_label_from_source_alone(pictures: list[Facts], expected: bool) -> None:
    score = score_sources(pictures)
    assert levels(check_sources(pictures, score)) == ([("error", "source")] if expected else [])
    # the same set gives the same figures
    assert score_sources(pictures) == score


def test_the_size_of_the_file_alone_is_a_warning() -> None:
    # works have more edges than an empty street, and a file of them is larger
    pictures = noisy(lambda label: [30_000, 90_000][label], "size")
    (finding,) = check_sources(pictures, score_sources(pictures))
    assert (finding.level, finding.check) == ("warning", "source")
    assert "Without the size of the file it is 0.50" in finding.message


def test_what_tells_the_label_is_named_and_shown() -> None:
    pictures = noisy(lambda label: ["Canon EOS", "Apple iPhone"][label], "camera")
    (finding,) = check_sources(pictures, score_sources(pictures))
    assert "balanced accuracy 1.00" in finding.message
    assert "camera alone 1.00" in finding.message
    assert "file size" not in finding.message
    assert {doubt.caption for doubt in finding.doubts} == {"clear: 640x480 Canon EOS", "roadwork: 640x480 Apple iPhone"}


def test_a_camera_a_drive_gives_no_label_away() -> None:
    # one label and one size a drive: within folds by picture the size would tell the drive, and with it the label
    random = np.random.default_rng(3)
    sizes, labels = random.integers(500, 4000, 40), random.integers(0, 2, 40)
    pictures = [
        facts(10 * d + n, int(labels[d]), place=str(d), width=int(sizes[d])) for d in range(40) for n in range(10)
    ]
    assert check_sources(pictures, score_sources(pictures)) == []


def twin(of: Facts, number: int, **given: Any) -> Facts:
    return facts(number, given.pop("label", of.label), thumbnail=of.thumbnail, **given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"split": "challenge"}, [("error", "near-duplicates")]),
        ({"split": "train", "label": 1}, [("error", "near-duplicates")]),
        ({"split": "train"}, [("warning", "near-duplicates")]),
        # two frames of one drive
        ({"split": "train", "place": "place 0"}, []),
    ],
)
def test_near_duplicates(given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    pictures = balanced(20, split="train")
    pictures.append(twin(pictures[0], 500, **given))
    found = check_twins(find_twins(pictures, BITS))
    assert levels(found) == expected
    if found:
        assert "0.jpg" in found[0].message
        assert "500.jpg" in found[0].message
        assert {doubt.sha256 for doubt in found[0].doubts} == {pictures[0].sha256, pictures[-1].sha256}
        assert found[0].doubts[0].caption == "train: 0.jpg (clear)"


def test_a_second_set_that_shares_a_picture() -> None:
    pictures, others = balanced(20), [facts(700 + n, 0) for n in range(5)]
    assert check_against(find_twins_against(pictures, others, BITS), "ROADWork") == []
    others.append(twin(pictures[3], 900))
    (finding,) = check_against(find_twins_against(pictures, others, BITS), "ROADWork")
    assert finding.level == "error"
    assert "the same picture here and in ROADWork, 1 times" in finding.message
    assert [doubt.other for doubt in finding.doubts] == [False, True]


REJECTED = [Rejected("a", f"{n}.jpg", "truncated", "the image is truncated") for n in range(10)]


@pytest.mark.parametrize(
    ("rejected", "level"),
    [
        ([], None),
        (REJECTED[:1], "warning"),
        (REJECTED, "error"),
        # what validators leave out is no damage
        ([Rejected("a", "x", "description", "label 1 without a description")] * 40, "warning"),
    ],
)
def test_rows_that_cannot_be_used(rejected: list[Rejected], level: str | None) -> None:
    report = examine_set(balanced(), rejected, bits=BITS)
    found = [one for one in report.findings if one.check == "left out"]
    assert [one.level for one in found] == ([level] if level else [])
    if found:
        assert f"{len(rejected)} rows cannot be used" in found[0].message
        assert f"{rejected[0].reason} {len(rejected)}" in found[0].message


@pytest.mark.parametrize(
    ("pictures", "level"),
    [
        ([facts(n, n % 2, split="train" if n else "pool", place="one") for n in range(40)], "error"),
        ([facts(n, n % 2, place=facts(n, 0).sha256) for n in range(40)], "note"),
        (balanced(), None),
    ],
)
def test_places(pictures: list[Facts], level: str | None) -> None:
    found = [one.level for one in examine_set(pictures, [], bits=BITS).findings if one.check == "places"]
    assert found == ([level] if level else [])


def test_the_report_is_json_with_the_worst_first() -> None:
    pictures = [*balanced(40, split="train"), *with_share(90, 0)]
    report = examine_set(pictures, REJECTED[:1], bits=BITS, other=Other("other", []))
    document = report.document()
    assert [one["level"] for one in document["findings"]] == sorted(
        (one["level"] for one in document["findings"]), key=["error", "warning", "note"].index
    )
    assert not document["sound"]
    assert document["labels"] == {"clear": 20, "roadwork": 110}
    assert document["against"] == {"name": "other", "pictures": 0, "shared": 0}
    json.dumps(document, allow_nan=False)


def test_a_sound_set_has_no_finding() -> None:
    report = examine_set(balanced(200), [], bits=BITS)
    assert report.findings == ()
    assert report.is_sound
