"""The card, asked in a process of its own: a driver that hangs or crashes ends that process alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

GIB = 1 << 30


class NoCardError(RuntimeError):
    """torch sees no card; the message says why, as far as that is known."""


class Card(BaseModel):
    """A card as torch sees it; memory in GiB, a compute capability such as 9.0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    gib: float
    free_gib: float
    capability: str
    torch: str
    cuda: str


def read_card() -> Card:
    """The card that checks run on.

    Raises:
        NoCardError: there is none.
    """
    import torch

    if not torch.backends.cuda.is_built():
        raise NoCardError(f"torch {torch.__version__} is a build without CUDA; install one with it")
    if not torch.cuda.is_available():
        raise NoCardError(
            f"torch {torch.__version__} sees no CUDA device: `nvidia-smi` must list a card, and its driver be new "
            f"enough for CUDA {torch.version.cuda}; `--device cpu --tiny` runs the same code without one"
        )
    free, total = torch.cuda.mem_get_info()
    found = torch.cuda.get_device_properties(0)
    return Card(
        name=found.name,
        gib=total / GIB,
        free_gib=free / GIB,
        capability=f"{found.major}.{found.minor}",
        torch=torch.__version__,
        cuda=str(torch.version.cuda),
    )
