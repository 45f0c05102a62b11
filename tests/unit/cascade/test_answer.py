"""The cascade over the tiny classifier: right answers, in order, with their trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cascade.answer import Cascade
from cascade.release import Exits, Release
from cascade.router import Outcome
from cascade.stages.classifier import ClassifierStage, sigmoid
from tests import tiny


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
        cascade.answer([tiny.street(tiny.ORANGE)])


def test_no_images_no_answers(cascade: Cascade) -> None:
    assert cascade.answer([]) == []


def test_every_answer_carries_its_trace(cascade: Cascade, release: Release) -> None:
    (answer,) = cascade.answer([tiny.street(tiny.ORANGE)])
    # (250 - 10) / 255 of gain 10 is a logit of 9.4
    assert answer.probability == pytest.approx(0.99992, abs=1e-4)
    assert (answer.label, answer.decided_by, answer.release) == ("roadwork", "classifier", release.id)
    (stage,) = answer.stages
    assert (stage.outcome, stage.exits.high, stage.probability) == ("roadwork", 0.88, answer.probability)
    assert answer.milliseconds == stage.milliseconds > 0


def test_an_unsure_image_gets_the_best_estimate(cascade: Cascade) -> None:
    (answer,) = cascade.answer([tiny.street((120, 90, 100))])
    assert answer.stages[0].outcome == "undecided"
    assert answer.label == "roadwork"
    assert "no stage was sure" in answer.reason


def test_more_images_than_a_batch_keep_their_order(cascade: Cascade) -> None:
    tops = [tiny.ORANGE if index % 3 else tiny.BLUE for index in range(70)]
    answers = cascade.answer([tiny.street(top, size=(64, 48)) for top in tops])
    assert [answer.label for answer in answers] == ["roadwork" if top == tiny.ORANGE else "clear" for top in tops]


def test_threads_get_their_own_answers(cascade: Cascade) -> None:
    tops = [tiny.ORANGE, tiny.BLUE] * 20
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda top: cascade.answer([tiny.street(top)])[0].label, tops))
    assert answers == ["roadwork", "clear"] * 20


class Oracle:
    """A second stage that is always sure, and remembers what it was shown."""

    name = "oracle"
    memory_bytes = 0

    def __init__(self) -> None:
        self.shown: list[Image.Image] = []

    def load(self) -> None:
        pass

    def unload(self) -> None:
        pass

    def predict(self, images: Sequence[Image.Image]) -> list[Outcome]:
        self.shown.extend(images)
        exits = Exits(high=0.9, low=0.1)
        return [
            Outcome(stage="oracle", probability=0.95, exits=exits, outcome="roadwork", milliseconds=2) for _ in images
        ]


def test_a_later_stage_sees_only_what_is_undecided(release: Release) -> None:
    cascade, oracle = Cascade(release), Oracle()
    cascade.stages.append(oracle)
    images = [tiny.street(top) for top in (tiny.ORANGE, (90, 90, 90), tiny.BLUE)]
    answers = cascade.load().answer(images)
    cascade.close()
    assert oracle.shown == [images[1]]
    assert [answer.decided_by for answer in answers] == ["classifier", "oracle", "classifier"]
    assert [seen.stage for seen in answers[1].stages] == ["classifier", "oracle"]
    assert answers[1].milliseconds == pytest.approx(answers[1].stages[0].milliseconds + 2)


def test_sigmoid_has_no_overflow() -> None:
    p = sigmoid(np.array([-1e4, -2, 0, 2, 1e4], dtype=np.float32))
    assert p == pytest.approx([0, 0.1192, 0.5, 0.8808, 1], abs=1e-4)
