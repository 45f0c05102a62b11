"""What the profile's models take of a card: the one table that `streetvision doctor --gpu` judges a card by.

`make gpu-check` measures the same on the machine itself. Figures are of the card's memory in GiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# where figures are from
H100 = "measured on an H100 80 GB, random weights at real size, torch 2.11, 2026-11-26"
WEIGHTS = "computed: weights in 16 bits, and activations and context by estimate"
BOOKED = "booked by the profile for 4-bit weights, vision encoder and cache in vLLM; not measured"
# of a card's memory that models may take: the rest is for driver, display and fragments
SHARE = 0.92
GIB = 1 << 30


@dataclass(frozen=True)
class Size:
    """A model with all that it needs to run.

    Attributes:
        name: for people.
        gib: at its peak.
        source: of the figure.
        note: how quick it was, where that was measured.
    """

    name: str
    gib: float
    source: str
    note: str = ""


# serving; stages 1, 2 and 4 stay together, one vision-language model is awake at a time
STAGES = (
    Size("classifier, DINOv2-L", 1.5, WEIGHTS, "1.5 ms a picture as a CUDA graph, 2,900 a second at batch 64 (H100)"),
    Size("detectors, YOLO11x and RF-DETR-M", 1.5, WEIGHTS),
    Size("ocr, Florence-2-L", 2.0, WEIGHTS),
)
VLMS = (
    Size("GLM-4.6V-Flash in bf16", 19.3, H100, "75 ms a picture of 224 px, 99 ms of 1024 px"),
    Size("Molmo2-8B in bf16", 16.3, H100, "59 ms"),
)


@dataclass(frozen=True)
class Booking:
    """What is set aside for vLLM, which holds one vision-language model at a time, and the keys that this needs."""

    size: Size
    settings: dict[str, Any]


CACHE = 4.7  # GiB of keys, values and pictures beside 16-bit weights
VLM_FULL = max(one.gib for one in VLMS) + CACHE
# the best first
BOOKINGS = (
    Booking(
        Size("vlm in bf16", VLM_FULL, f"{H100}, in process, and {CACHE:g} GiB of cache by estimate"),
        {
            "vlm.server.memory_gib": VLM_FULL,
            "vlm.server.arguments": ["--limit-mm-per-prompt", '{"image": 1, "video": 1}'],
            "quantize.backend": "off",
        },
    ),
    Booking(Size("vlm in 4 bits", 14.4, BOOKED), {}),
    Booking(
        Size("vlm in 4 bits, 4096 tokens", 10.5, BOOKED),
        {"vlm.server.memory_gib": 10.5, "vlm.server.max_model_len": 4096},
    ),
)
SDXL = (
    ("none", Size("SDXL, all on the card", 11.5, H100, "31 pictures a minute")),
    ("model", Size("SDXL, one model at a time on the card", 6.6, H100, "22 pictures a minute")),
)


@dataclass(frozen=True)
class Training:
    """Memory of a training, on the straight line through what does not grow with the batch and the measured batch.

    Attributes:
        million_parameters: each is there as weight, gradient, two moments of AdamW and average: 20 bytes in fp32.
        measured_batch, measured_gib: of one batch, in fp32; autocast takes less.
    """

    name: str
    key: str
    million_parameters: float
    measured_batch: int
    measured_gib: float
    source: str

    @property
    def fixed_gib(self) -> float:
        """What does not grow with the batch: five copies of the weights, and CUDA's context."""
        return self.million_parameters * 1e6 * BYTES_A_WEIGHT / GIB + CONTEXT

    def gib(self, batch: int) -> float:
        """At a batch."""
        slope = (self.measured_gib - self.fixed_gib) / self.measured_batch
        return self.fixed_gib + slope * batch

    def batch(self, gib: float) -> int:
        """The largest even batch that fits, up to the measured one, which learning rates are for; 0 for none."""
        return max((size for size in range(2, self.measured_batch + 1, 2) if self.gib(size) <= gib), default=0)


BYTES_A_WEIGHT = 20
CONTEXT = 0.5  # GiB
TRAININGS = (
    Training("YOLO11x, 640 px", "detect.yolo.batch_size", 56.9, 16, 27.0, H100),
    Training("RF-DETR-M, 576 px", "detect.detr.batch_size", 33.7, 16, 19.2, H100),
)
