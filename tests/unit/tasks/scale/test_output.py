"""The folder of shards: what is refused, and which shards are used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.core.cascade import Prediction
from cascade.preprocess.image import BadImage
from cascade.stages.base import SkipCause, StageResult, skipped_result
from tasks.scale.errors import OutputError
from tasks.scale.output import OutputFolder
from tasks.scale.pictures import Picture
from tasks.scale.predictor import Shard
from tasks.scale.table import Predicted, encode_shard, read_facts

KEYS = [character * 64 for character in "ab"]


def prediction(cause: SkipCause | None = None) -> Prediction:
    """What a classifier that is sure of nothing says, and a stage behind it that is skipped for a cause."""
    stages = [StageResult(stage="classifier", probability=0.4, verdict="undecided", milliseconds=1.0)]
    if cause:
        stages.append(skipped_result("ocr", cause))
    fields = {"probability": 0.4, "label": "clear", "decided_by": "classifier", "reason": "", "release": "r"}
    return Prediction.model_validate({**fields, "stages": stages, "milliseconds": 1.0})


def shard(number: int, *predicted: Predicted) -> Shard:
    pictures = [Picture(f"{index}.jpg", None, "", "", b"") for index, _ in enumerate(predicted)]
    data, facts = encode_shard(pictures, predicted, "r")
    return Shard(number, 0, KEYS[number], len(pictures), facts, data)


@pytest.mark.parametrize(
    ("predicted", "used"),
    [
        (prediction(), True),
        (BadImage("empty", "the file is empty"), True),
        # as it will be the next time
        (prediction("off"), True),
        (prediction("missing"), True),
        # the next time it may not
        (prediction("failed"), False),
        (prediction("memory"), False),
    ],
)
def test_a_shard_that_lacks_a_result_is_not_used_again(tmp_path: Path, predicted: Predicted, used: bool) -> None:
    with OutputFolder(tmp_path / "out") as output:
        output.add(shard(0, prediction()))
        output.add(shard(1, predicted))
        output.finish({}, [])
    with OutputFolder(tmp_path / "out") as output:
        assert output.done == {KEYS[0], *KEYS[1:][:used]}


def test_the_facts_of_a_shard_are_in_its_metadata(tmp_path: Path) -> None:
    one = shard(0, prediction(), prediction("failed"), BadImage("empty", "x"))
    assert one.data is not None
    (tmp_path / "shard").write_bytes(one.data)
    assert read_facts(tmp_path / "shard") == one.facts
    assert one.facts is not None
    assert one.facts.model_dump(include={"pictures", "roadwork", "clear", "refused", "incomplete"}) == {
        "pictures": 3, "roadwork": 0, "clear": 2, "refused": {"empty": 1}, "incomplete": 1,
    }  # fmt: skip
    (tmp_path / "shard").write_bytes(one.data[:-9])
    assert read_facts(tmp_path / "shard") is None


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        OutputFolder(tmp_path / "out"),
        pytest.raises(OutputError, match="another run writes there"),
        OutputFolder(tmp_path / "out"),
    ):
        pass
    # a run that failed gives it free
    with OutputFolder(tmp_path / "out") as output:
        assert output.done == set()


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as output:
        output.add(shard(0, prediction()))
        (tmp_path / "out" / ".00000001-0000.parquet.77.partial").write_bytes(b"half")
    with OutputFolder(tmp_path / "out") as output:
        assert output.done == {KEYS[0]}
        assert not list((tmp_path / "out").glob(".*.partial"))
