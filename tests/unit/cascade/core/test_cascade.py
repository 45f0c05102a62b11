"""The cascade over the tiny classifier: right answers, in order, with their trace."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cascade.config import MemoryParams, TimeoutParams
from cascade.core.cascade import Cascade
from cascade.core.executor import skip_cause
from cascade.core.memory import GIB, LoadError, MemoryLimitError
from cascade.core.router import NoEstimateError
from cascade.core.timeouts import StageBusyError, StageTimeoutError
from cascade.release.store import CascadeSettings, CropSettings, Exits, Release, ReleaseError, StageEntry
from cascade.stages.base import StageResult, verdict_of
from cascade.stages.classifier import ClassifierStage
from cascade.stages.factory import memory_estimate
from tests.support import tiny, tiny_detector


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def cascade(release: Release) -> Iterator[Cascade]:
    loaded = Cascade(release).load()
    yield loaded
    loaded.close()


def test_an_unloaded_stage_says_so(release: Release) -> None:
    with pytest.raises(RuntimeError, match="not loaded"):
        ClassifierStage(release).predict([tiny.street(tiny.ORANGE)])


def test_a_closed_cascade_does_not_answer(release: Release) -> None:
    cascade = Cascade(release).load()
    cascade.close()
    with pytest.raises(RuntimeError, match="not loaded"):
        cascade.predict([tiny.street(tiny.ORANGE)])


def test_no_images_no_answers(cascade: Cascade) -> None:
    assert cascade.predict([]) == []


def test_every_answer_carries_its_trace(cascade: Cascade, release: Release) -> None:
    (answer,) = cascade.predict([tiny.street(tiny.ORANGE)])
    # (250 - 10) / 255 of gain 10 is a logit of 9.4
    assert answer.probability == pytest.approx(0.99992, abs=1e-4)
    assert (answer.label, answer.decided_by, answer.release) == ("roadwork", "classifier", release.id)
    (stage,) = answer.stages
    assert (stage.verdict, stage.exits.high, stage.probability) == ("roadwork", 0.88, answer.probability)
    assert answer.milliseconds == stage.milliseconds > 0


def test_images_asked_together_share_a_time_and_say_how_many(cascade: Cascade) -> None:
    answers = cascade.predict([tiny.street(tiny.ORANGE)] * 3)
    assert {(answer.stages[0].milliseconds, answer.stages[0].batch) for answer in answers} == {
        (answers[0].milliseconds, 3)
    }


def test_an_undecided_image_gets_the_best_estimate(cascade: Cascade) -> None:
    (answer,) = cascade.predict([tiny.street((120, 90, 100))])
    assert answer.stages[0].verdict == "undecided"
    assert answer.label == "roadwork"
    p = answer.probability
    assert answer.reason == f"no stage was sure; the best estimate is {p:.2f} from the classifier"


def test_more_images_than_a_batch_keep_their_order(cascade: Cascade) -> None:
    tops = [tiny.ORANGE if index % 3 else tiny.BLUE for index in range(70)]
    answers = cascade.predict([tiny.street(top, size=(64, 48)) for top in tops])
    assert [answer.label for answer in answers] == ["roadwork" if top == tiny.ORANGE else "clear" for top in tops]


def test_threads_get_their_own_answers(cascade: Cascade) -> None:
    tops = [tiny.ORANGE, tiny.BLUE] * 20
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda top: cascade.predict([tiny.street(top)])[0].label, tops))
    assert answers == ["roadwork", "clear"] * 20


class Oracle:
    """A further stage with a given result, which notes the images and priors that it gets."""

    memory_bytes = 0

    def __init__(
        self,
        name: str = "vlm",
        p: float | None = 0.95,
        *,
        error: Exception | None = None,
        seconds: float = 0,
        load_error: Exception | None = None,
    ) -> None:
        self.name, self.p, self.error, self.seconds, self.load_error = name, p, error, seconds, load_error
        self.shown: list[Image.Image] = []
        self.priors: list[float] = []

    def load(self) -> None:
        if self.load_error:
            raise self.load_error

    def unload(self) -> None:
        pass

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        self.shown.extend(images)
        self.priors.extend(priors or [])
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        exits = Exits(high=0.9, low=0.1)
        verdict = "undecided" if self.p is None else verdict_of(self.p, exits)
        return [StageResult(stage=self.name, probability=self.p, exits=exits, verdict=verdict, milliseconds=2)] * len(
            images
        )


UNDECIDED = (120, 90, 100)


def test_a_later_stage_sees_only_what_is_undecided(release: Release) -> None:
    oracle = Oracle()
    cascade = Cascade(release, stages=[ClassifierStage(release), oracle]).load()
    images = [tiny.street(top) for top in (tiny.ORANGE, UNDECIDED, tiny.BLUE)]
    answers = cascade.predict(images)
    cascade.close()
    assert oracle.shown == [images[1]]
    # with the estimate of the stage before it
    assert oracle.priors == [answers[1].stages[0].probability]
    assert [answer.decided_by for answer in answers] == ["classifier", "vlm", "classifier"]
    assert [seen.stage for seen in answers[1].stages] == ["classifier", "vlm"]
    assert answers[1].milliseconds == pytest.approx(answers[1].stages[0].milliseconds + 2)
    assert all(answer.complete for answer in answers)


@pytest.mark.parametrize(
    ("stage", "cause"),
    [
        # breaks on the picture: the error's text, which may name paths, is for the log
        (Oracle(error=ValueError("/secret/path")), "failed"),
        (Oracle(load_error=FileNotFoundError("model.safetensors")), "failed"),
        # hangs: the answer does not wait for it
        (Oracle(seconds=3), "timeout"),
    ],
)
def test_a_stage_that_fails_is_skipped_and_the_trace_says_so(release: Release, stage: Oracle, cause: str) -> None:
    params = TimeoutParams(vlm=0.2)
    last = Oracle("ocr", None)
    cascade = Cascade(release, timeouts=params, stages=[ClassifierStage(release), stage, last]).load()
    (answer,) = cascade.predict([tiny.street(UNDECIDED)])
    cascade.close()
    assert answer.stages[1].skipped == cause
    assert "secret" not in answer.model_dump_json()
    # the next stage runs all the same, and the best estimate is the classifier's
    assert len(last.shown) == 1
    assert (answer.decided_by, answer.probability) == ("classifier", answer.stages[0].probability)
    assert not answer.complete


@pytest.mark.parametrize(
    ("error", "time_is_up", "cause"),
    [
        (StageTimeoutError(), False, "timeout"),
        (MemoryLimitError(), False, "memory"),
        # the whole answer left it too little time, whatever it waited for
        (StageTimeoutError(), True, "deadline"),
        (MemoryLimitError(), True, "deadline"),
        # neither has to do with time
        (StageBusyError(), True, "busy"),
        (LoadError(), True, "failed"),
    ],
)
def test_causes(error: Exception, time_is_up: bool, cause: str) -> None:
    assert skip_cause(error, time_is_up=time_is_up) == cause


@pytest.mark.parametrize(
    ("error", "cause", "calls"),
    [
        # the next images have no better chance
        (StageTimeoutError(), "timeout", 1),
        (MemoryLimitError(), "memory", 1),
        # one image may break a stage, and the next may not
        (ValueError(), "failed", 3),
    ],
)
def test_a_stage_is_given_up_only_where_the_next_images_have_no_chance(
    release: Release, error: Exception, cause: str, calls: int
) -> None:
    broken = Oracle(error=error)
    cascade = Cascade(release, stages=[ClassifierStage(release), broken], timeouts=TimeoutParams(batch=1)).load()
    answers = cascade.predict([tiny.street(UNDECIDED)] * 3)
    cascade.close()
    assert [answer.stages[1].skipped for answer in answers] == [cause] * 3
    assert len(broken.shown) == calls


def test_at_the_deadline_the_best_estimate_is_the_answer(release: Release) -> None:
    slow, never = Oracle(seconds=5), Oracle("ocr")
    cascade = Cascade(release, stages=[ClassifierStage(release), slow, never]).load()
    (answer,) = cascade.predict([tiny.street(UNDECIDED)], until=time.monotonic() + 0.3)
    # not `timeout`: the stage had less time than its own limit
    assert [seen.skipped for seen in answer.stages] == [None, "deadline", "deadline"]
    assert never.shown == []
    with pytest.raises(NoEstimateError, match="classifier: deadline; vlm: deadline"):
        cascade.predict([tiny.street(UNDECIDED)], until=time.monotonic() - 1)
    cascade.close()


def test_what_was_done_when_time_was_up_counts(release: Release) -> None:
    slow = Oracle(seconds=0.2)
    params = TimeoutParams(batch=1)
    cascade = Cascade(release, timeouts=params, stages=[ClassifierStage(release), slow]).load()
    answers = cascade.predict([tiny.street(UNDECIDED)] * 6, until=time.monotonic() + 0.7)
    cascade.close()
    decided = [answer.decided_by for answer in answers]
    assert decided[0] == "vlm"
    assert decided[-1] == "classifier"


def test_a_stage_that_keeps_hanging_is_left_alone(release: Release) -> None:
    slow = Oracle(seconds=1.0)
    params = TimeoutParams(vlm=0.05)
    cascade = Cascade(release, timeouts=params, stages=[ClassifierStage(release), slow]).load()
    answers = [cascade.predict([tiny.street(UNDECIDED)])[0] for _ in range(4)]
    cascade.close()
    assert len(slow.shown) == 2
    assert [answer.stages[1].skipped for answer in answers] == ["timeout", "timeout", "busy", "busy"]


def test_a_stage_runs_in_one_thread_from_call_to_call(release: Release) -> None:
    threads: list[int] = []

    class Noting(Oracle):
        def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
            threads.append(threading.get_ident())
            return super().predict(images, priors)

    cascade = Cascade(release, stages=[ClassifierStage(release), Noting()]).load()
    for _ in range(5):
        cascade.predict([tiny.street(UNDECIDED)])
    cascade.close()
    assert len(threads) == 5
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


def test_a_first_stage_that_is_broken_is_an_error_before_serving(release: Release) -> None:
    with pytest.raises(OSError, match="disk"):
        Cascade(release, stages=[Oracle("classifier", load_error=OSError("disk"))]).load()


def test_what_can_never_fit_is_an_error_before_serving(release: Release) -> None:
    huge = Oracle()
    huge.memory_bytes = 40 * GIB
    with pytest.raises(MemoryLimitError, match="vlm needs 40"):
        Cascade(release, MemoryParams(ram_gib=24), stages=[ClassifierStage(release), huge]).load()


@pytest.mark.parametrize(
    ("device", "memory", "message"),
    [
        # a stage on a card is booked there, whatever library computes it, and not as RAM
        ("cuda", MemoryParams(ram_gib=1, gpu_gib=22), None),
        ("cuda", MemoryParams(ram_gib=64, gpu_gib=2), r"vlm needs 4\.0 GiB of GPU memory .*raise memory\.gpu_gib"),
        ("cuda", MemoryParams(ram_gib=64), r"of GPU memory .* of 0\.0; raise memory\.gpu_gib"),
        ("cpu", MemoryParams(ram_gib=2, gpu_gib=22), r"of RAM .*raise memory\.ram_gib"),
    ],
)
def test_a_stage_is_booked_where_it_computes(
    release: Release, tmp_path: Path, device: str, memory: MemoryParams, message: str | None
) -> None:
    stage = Oracle()
    stage.memory_bytes, stage.device = 4 * GIB, device  # type: ignore[attr-defined]
    cascade = Cascade(release, memory, stages=[stage], sizes=tmp_path / "sizes.json")
    if message:
        with pytest.raises(MemoryLimitError, match=message):
            cascade.load()
        return
    cascade.load().close()
    # a size in RAM, as an earlier version measured it, is another one
    assert json.loads((tmp_path / "sizes.json").read_text()) == {f"{release.id}/cuda/vlm": 4 * GIB}


def test_a_size_that_the_profile_gives_stands_until_one_is_measured(tmp_path: Path) -> None:
    folder, stage = tmp_path / "release", Oracle("classifier")
    (folder / "vlm").mkdir(parents=True)
    (folder / "classifier.onnx").write_bytes(bytes(1000))
    (folder / "vlm" / "model.safetensors").write_bytes(bytes(50_000))
    # twice its own files; those of the other stages lie in folders beside them
    assert memory_estimate(stage, folder) == 2000
    assert memory_estimate(stage, folder, 3 * GIB) == 3 * GIB
    assert memory_estimate(Oracle("vlm"), folder / "vlm") == 100_000
    stage.memory_bytes = 7
    assert memory_estimate(stage, folder, 3 * GIB) == 7


def test_switched_off_stages_and_single_ones(tmp_path: Path) -> None:
    entries = [("classifier", True, ""), ("ocr", False, "no net value")]
    stages = tuple(StageEntry(name=name, on=on, why=why) for name, on, why in entries)  # type: ignore[arg-type]
    release = tiny.write_release(tmp_path, settings=CascadeSettings(stages=stages))
    cascade = Cascade(release).load()
    (answer,) = cascade.predict([tiny.street(UNDECIDED)])
    cascade.close()
    assert [seen.skipped for seen in answer.stages] == [None, "off"]
    assert answer.complete
    with pytest.raises(ReleaseError, match="no stage vlm"):
        Cascade(release, only={"vlm"})


def test_a_stage_that_is_off_runs_alone_from_the_working_folder(tmp_path: Path) -> None:
    entries = [("classifier", True, ""), ("detectors", False, "no net value")]
    stages = tuple(StageEntry(name=name, on=on, why=why) for name, on, why in entries)  # type: ignore[arg-type]
    release = tiny.write_release(tmp_path / "release", settings=CascadeSettings(stages=stages))
    # not an evaluation of which every answer is an abstention
    for spare in (None, tmp_path / "models"):
        with pytest.raises(ReleaseError, match=r"detectors cannot run alone.*detectors\.json: no such file"):
            Cascade(release, only={"detectors"}, spare=spare)
    tiny_detector.write_detectors(tmp_path / "models" / "detectors")
    cascade = Cascade(release, only={"detectors"}, spare=tmp_path / "models", enforce_timeouts=False).load()
    (answer,) = cascade.predict([tiny.street(UNDECIDED)])
    cascade.close()
    assert [seen.stage for seen in answer.stages] == ["detectors"]
    assert answer.stages[0].probability is not None


def test_a_wide_picture_is_seen_in_several_squares(release: Release) -> None:
    wide = Image.new("RGB", (1200, 400), (90, 90, 90))
    # works at the right edge, which the centre square does not show
    wide.paste(tiny.ORANGE, (800, 0, 1200, 200))
    found = {}
    for pool, count in (("max", 1), ("max", 3), ("mean", 3)):
        stage = ClassifierStage(release, CropSettings(count=count, pool=pool))  # type: ignore[arg-type]
        stage.load()
        seen, square = stage.predict([wide, tiny.street(tiny.ORANGE, size=(400, 400))])
        found[pool, count] = seen.probability
        assert "views" not in square.detail
        stage.unload()
    assert found["max", 1] == pytest.approx(0.5)
    assert found["max", 3] == pytest.approx(0.9999, abs=1e-3)
    # a third of the logit 9.4
    assert found["mean", 3] == pytest.approx(0.958, abs=1e-3)


@pytest.mark.parametrize(
    ("named", "views"),
    [
        ({}, 3),  # a release from before the kinds of views were named has both
        ({"tta_views": ["mirrored", "shifted"]}, 3),
        ({"tta_views": ["shifted"]}, 2),
    ],
)
def test_an_undecided_square_gets_further_views(named: dict[str, Any], views: int, tmp_path: Path) -> None:
    folder = tiny.write_classifier(tmp_path / "classifier")
    document = json.loads((folder / "classifier.json").read_text())
    band = {"high": 0.88, "low": 0.12}
    (folder / "classifier.json").write_text(json.dumps({**document, "tta_band": band, **named}))
    stage = ClassifierStage(folder)
    stage.load()
    sure, torn = stage.predict([tiny.street(tiny.ORANGE), tiny.street(UNDECIDED)])
    stage.unload()
    assert "views" not in sure.detail
    assert torn.detail == {"views": views}
