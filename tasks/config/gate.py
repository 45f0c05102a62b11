"""Section `gate`: what a release must show against the champion before it may take its place."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cascade.config.base import Section, Share


class GateSliceParams(Section):
    """Key `gate.slices`: levels of degradation and values of a slice, each held against its own limits.

    Attributes:
        min_views: a slice of fewer views is shown and not judged.
        min_accuracy: floor under each, at the prior.
        max_drop: of accuracy against the champion, where the difference is also significant after Bonferroni's
            correction for the number of slices.
    """

    min_views: int = Field(default=40, ge=2)
    min_accuracy: Share = Field(default=0.6, ge=0, le=1)
    max_drop: Share = Field(default=0.05, gt=0, le=1)


class GateLatencyParams(Section):
    """Key `gate.latency`: one image a call, both releases by turns.

    Attributes:
        rounds: timed pairs of calls, after one that warms up.
        max_ratio: of the two medians, challenger to champion.
    """

    rounds: int = Field(default=25, ge=3)
    max_ratio: float = Field(default=1.3, gt=0)


class GateMemoryParams(Section):
    """Key `gate.memory`: what loading and one call add to a process of its own.

    Attributes:
        max_ratio: challenger to champion.
        spare_mib: more than the champion's that is always allowed: measurements of small models scatter.
    """

    max_ratio: float = Field(default=1.3, gt=0)
    spare_mib: int = Field(default=64, ge=0)


class GateGoldenParams(Section):
    """Key `gate.golden`: whole challenge pictures through the code path of the service.

    Attributes:
        pictures: of both labels by turns.
        max_gap: of a probability between a picture alone and in a batch.
    """

    pictures: int = Field(default=16, ge=2)
    max_gap: Share = Field(default=0.05, gt=0, lt=1)


class GateInvarianceParams(Section):
    """Key `gate.invariance`: changes of a view that must not change its answer.

    Attributes:
        views: of the challenge set, level 0, spread evenly.
        jpeg_quality: that a view is encoded with once more.
        brightness: share by which a view is made darker, and brighter.
        max_flipped: share of the answers that each change may turn.
    """

    views: int = Field(default=48, ge=2)
    jpeg_quality: int = Field(default=40, ge=1, le=95)
    brightness: Share = Field(default=0.25, gt=0, lt=1)
    max_flipped: Share = Field(default=0.1, ge=0, le=1)


class GateMustPassParams(Section):
    """Key `gate.must_pass`: reviewed hard cases that the champion, or one before it, answers right.

    Attributes:
        file: the cases of earlier champions, by the digest of the picture.
        max_broken: how many of them the challenger may answer wrong.
    """

    file: Path = Path("data/must_pass.csv")
    max_broken: int = Field(default=0, ge=0)


class GateParams(Section):
    """Section `gate`.

    Attributes:
        confidence: of all intervals and tests, two-sided.
        power: chance with which the minimum detectable effect would be found.
        resamples: of the paired bootstrap, by place.
        seed: of the resamples.
        margin_mcc: non-inferiority margin: by how much less the challenger's MCC may be, at most, by its interval.
        margin_reward: the same of the expected reward.
        min_recall: floor, at the prior.
        max_parity_gap: of a probability, the served engine against fp32 in ONNX Runtime.
        pictures: shown in the report, of the views that the two answer differently.
        store: folder of kept predictions.
    """

    confidence: Share = Field(default=0.95, gt=0.5, lt=1)
    power: Share = Field(default=0.8, gt=0.5, lt=1)
    resamples: int = Field(default=2000, ge=100)
    seed: int = 20261127
    margin_mcc: Share = Field(default=0.02, gt=0, lt=1)
    margin_reward: Share = Field(default=0.04, gt=0, lt=1)
    min_recall: Share = Field(default=0.7, ge=0, le=1)
    max_parity_gap: Share = Field(default=0.05, gt=0, lt=1)
    pictures: int = Field(default=24, ge=0)
    store: Path = Path("var/gate")
    slices: GateSliceParams = GateSliceParams()
    latency: GateLatencyParams = GateLatencyParams()
    memory: GateMemoryParams = GateMemoryParams()
    golden: GateGoldenParams = GateGoldenParams()
    invariance: GateInvarianceParams = GateInvarianceParams()
    must_pass: GateMustPassParams = GateMustPassParams()
