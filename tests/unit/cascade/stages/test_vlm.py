"""The stage around a backend: what becomes of an answer, and what happens to a VLM that cannot be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from cascade.stages.base import runs_on
from cascade.stages.vlm import VlmStage
from cascade.vlm.backend import load_backend
from cascade.vlm.base import Clip, VlmAnswer, VlmError
from cascade.vlm.precision import float_precision, vlm_precision
from cascade.vlm.settings import check_files, read_settings
from tests.support.vlm_settings import SERVER, vlm_settings, write_settings

AWQ = {"quantization_config": {"quant_method": "awq", "bits": 4, "version": "gemm", "zero_point": True}}
SERVED = {"backend": "server"}
PICTURE = Image.new("RGB", (32, 32))


class Scripted:
    """A backend with given answers."""

    memory_bytes = 5

    def __init__(self, answers: Sequence[VlmAnswer]) -> None:
        self.answers, self.calls = list(answers), list[str]()

    def load(self) -> None:
        self.calls.append("load")

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        return [self.answers.pop(0) for _ in items]

    def rest(self) -> None:
        self.calls.append("rest")

    def close(self) -> None:
        self.calls.append("close")


def stage(folder: Path, *answers: VlmAnswer, **changes: object) -> VlmStage:
    return VlmStage(write_settings(folder, **changes), Scripted(answers))


@pytest.mark.parametrize(
    ("logit", "scaling", "p", "verdict"),
    [
        # p = 0.75 and 0.25 leave: the exits are inclusive (log 3 = 1.0986...)
        (1.0986122886681100, (1.0, 0.0), 0.75, "roadwork"),
        (-1.0986122886681100, (1.0, 0.0), 0.25, "clear"),
        # just inside
        (1.09, (1.0, 0.0), 0.7484, "undecided"),
        (0.0, (1.0, 0.0), 0.5, "undecided"),
        # a temperature of 2 brings the same answer below the exit
        (2.0, (0.5, 0.0), 0.7311, "undecided"),
        # an offset moves the cut
        (2.0, (1.0, -2.0), 0.5, "undecided"),
        # logits that overflow an exponential
        (-5000.0, (1.0, 0.0), 0.0, "clear"),
    ],
)
def test_result(tmp_path: Path, logit: float, scaling: tuple[float, float], p: float, verdict: str) -> None:
    made = stage(tmp_path, VlmAnswer("answered", logit, 0.9, "Yes"), scaling={"a": scaling[0], "b": scaling[1]})
    (seen,) = made.predict([PICTURE], [0.4])
    assert seen.probability == pytest.approx(p, abs=1e-4)
    assert (seen.stage, seen.verdict, seen.skipped) == ("vlm", verdict, None)
    assert seen.detail["said"] == "Yes"


@pytest.mark.parametrize("kind", ["malformed", "timeout", "failed", "off"])
def test_abstention_is_a_word_in_the_trace_and_is_counted(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = stage(tmp_path, VlmAnswer(kind, why="because"), VlmAnswer("answered", 3.0, 0.9, "Yes"))  # type: ignore[arg-type]
    seen = made.predict([PICTURE, PICTURE])
    assert [item.skipped for item in seen] == [kind, None]
    assert [item.batch for item in seen] == [2, 2]
    assert (seen[0].probability, seen[0].verdict, seen[0].detail["kind"]) == (None, "undecided", kind)
    assert made.counts == {kind: 1, "answered": 1}
    # the details are in the log, except where it is switched off
    assert ("because" in caplog.text) == (kind != "off")


def test_unload_rests_and_close_ends(tmp_path: Path) -> None:
    backend = Scripted([])
    made = VlmStage(write_settings(tmp_path), backend)
    made.load()
    made.unload()
    made.close()
    assert (made.memory_bytes, backend.calls) == (5, ["load", "rest", "close"])


@pytest.mark.parametrize(
    ("count", "kept", "rate"),
    [
        # fewer than the limit of 3, as many, more
        (1, [0], 4.0),
        (3, [0, 1, 2], 4.0),
        (7, [0, 2, 4], 12 / 7),
    ],
)
def test_a_long_clip_is_thinned_evenly(tmp_path: Path, count: int, kept: list[int], rate: float) -> None:
    class Watching(Scripted):
        def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
            self.seen = items[0]
            return super().run(items)

    backend = Watching([VlmAnswer("answered", 3.0, 0.9)])
    frames = tuple(Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(count))
    (seen,) = VlmStage(write_settings(tmp_path), backend).predict_clips([Clip(frames, 4.0)])
    assert seen.verdict == "roadwork"
    assert isinstance(backend.seen, Clip)
    assert [frame.getpixel((0, 0))[0] for frame in backend.seen.frames] == kept
    assert backend.seen.frames_per_second == pytest.approx(rate)


def test_off_abstains(tmp_path: Path) -> None:
    made = VlmStage(write_settings(tmp_path, backend="off"))
    made.load()
    assert made.predict([PICTURE])[0].skipped == "off"
    assert made.predict_clips([Clip((PICTURE,), 1.0)])[0].skipped == "off"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # not there, no JSON, no object, keys of another release, a value out of range
        (None, "dvc repro vlm"),
        ("{", "not JSON"),
        ("[]", "does not fit"),
        (json.dumps({**vlm_settings().model_dump(), "temperature": 1}), "temperature"),
        (json.dumps({**vlm_settings().model_dump(), "scaling": {"a": 0, "b": 0}}), "scaling.a"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "vlm.json").write_text(text)
    with pytest.raises(VlmError, match=message):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # gone, changed
        (None, "No such file"),
        (b"other weights", "not the file that vlm.json vouches for"),
    ],
)
def test_weights_that_nobody_vouches_for(tmp_path: Path, content: bytes | None, message: str) -> None:
    settings = vlm_settings(files={"model.safetensors": hashlib.sha256(b"weights").hexdigest()})
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(VlmError, match=message):
        check_files(tmp_path, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # no server's settings, no model
        ({"backend": "server", "server": None}, "needs the key server"),
        ({"backend": "server", "model": {}}, "a folder or a repo"),
        ({"backend": "transformers", "model": {}}, "a folder or a repo"),
    ],
)
def test_settings_without_a_model(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(VlmError, match=message):
        load_backend(tmp_path, vlm_settings(**changes))


@pytest.mark.parametrize(
    ("changes", "config", "precision"),
    [
        # what the checkpoint is stored in goes before what computes it
        ({}, AWQ, "awq int4"),
        (SERVED, AWQ, "awq int4"),
        # on a card in bf16
        ({"device": "cuda"}, {}, "bf16"),
        # a server says it by its arguments, by its type, or not at all
        ({**SERVED, "server": {**SERVER, "arguments": ["--seed", "1", "--quantization", "fp8"]}}, {}, "fp8"),
        ({**SERVED, "server": {**SERVER, "dtype": "bfloat16"}}, {}, "bfloat16"),
        (SERVED, {}, "as stored"),
        (SERVED, None, "as stored"),
        ({"backend": "off"}, {}, "none"),
    ],
)
def test_precision_is_read_from_settings_and_files(
    tmp_path: Path, changes: dict[str, object], config: dict[str, object] | None, precision: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert vlm_precision(tmp_path, vlm_settings(**changes)) == precision


@pytest.mark.parametrize(
    ("device", "flags", "precision"),
    [
        ("cuda", "flags : sse2", "bf16"),
        ("cpu", "flags : sse2 avx512_bf16", "bf16"),
        ("cpu", "flags : sse2", "fp32"),
    ],
)
def test_bf16_is_taken_by_what_a_device_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, flags: str, precision: str
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr("cascade.vlm.precision.CPU_INFO", tmp_path / "cpuinfo")
    assert float_precision(device) == precision


def test_the_stage_says_what_it_computes_on_and_in(tmp_path: Path) -> None:
    backend = Scripted([])
    made = VlmStage(write_settings(tmp_path, device="cuda"), backend)
    assert (made.device, runs_on(made), made.precision) == ("cuda", "cuda", None)
    made.load()
    assert made.precision == "bf16"
    # a server that was to be on the card, and is not; its memory stays booked there
    backend.runs_on = "cpu"  # type: ignore[attr-defined]
    assert (made.device, runs_on(made)) == ("cuda", "cpu")
