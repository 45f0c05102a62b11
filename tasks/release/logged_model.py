"""A release as a logged model of MLflow: its signature, and a pointer to its folder; the weights stay DVC's.

`mlflow.pyfunc.load_model("models:/streetvision@champion")` opens the release in the caller's process.
https://mlflow.org/docs/latest/ml/model (loader_module)
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cascade.config import RuntimeParams
from cascade.release.manifest import Frozen
from cascade.release.store import MANIFEST, Release, ReleaseError
from tasks.common.files import read_json, sha256_file, write_json

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

POINTER = "release.json"
MLMODEL_FILE = "MLmodel"  # the name that MLflow looks for
VERSIONS_TAG = "mlflow.modelVersions"
# of the frame that is predicted, and of what comes back
IMAGE, OUTPUTS = "image", {"probability": "double", "label": "string", "decided_by": "string", "reason": "string"}


class Pointer(Frozen):
    """Where a release lies, and what it must be.

    Attributes:
        folder: absolute, on the machine that registered it.
        manifest: sha256 of its manifest, which vouches for all other files.
        params: limits of pictures and memory.
    """

    release: str
    folder: Path
    manifest: str
    params: RuntimeParams


class ReleaseModel:
    """A release as MLflow's pyfunc calls it.

    Args:
        release: verified.
        params: limits of pictures and memory.
    """

    def __init__(self, release: Release, params: RuntimeParams) -> None:
        self._release, self._params = release, params

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict pictures under the limits of the service that registered the release; each call loads its models.

        Args:
            frame: column `image` with the bytes of picture files, one a row.
            params: none are known.

        Returns:
            Columns probability (0 to 1), label, decided_by and reason, one row a picture.

        Raises:
            BadImage: one of them is no picture or breaks a limit; names none, as the service does.
        """
        import pandas as pd

        from cascade.decoding.pool import Decoders
        from cascade.local.session import open_cascade

        serve = self._params.serve
        limits = {"max_pixels": serve.max_pixels, "min_side": serve.min_side}
        with open_cascade(self._release.folder, self._params) as cascade, Decoders(pictures=1) as decoders:
            images = [decoders.decode(bytes(data), **limits).image for data in frame[IMAGE]]
            found = [answer.model_dump(include=set(OUTPUTS)) for answer in cascade.predict(images)]
        return pd.DataFrame(found, columns=list(OUTPUTS), index=frame.index)


def _load_pyfunc(path: str) -> ReleaseModel:
    """Open the release that the pointer names; MLflow calls it by this name.

    Raises:
        ReleaseError: the release is gone, or another one lies there.
    """
    from cascade.release.store import load_release

    pointer = Pointer.model_validate(read_json(Path(path)))
    if not pointer.folder.is_dir():
        raise ReleaseError(f"{pointer.folder}: no such folder; `make restore` brings release {pointer.release} back")
    if sha256_file(pointer.folder / MANIFEST) != pointer.manifest:
        raise ReleaseError(f"{pointer.folder}: its manifest is not the one that was registered")
    return ReleaseModel(load_release(pointer.folder), pointer.params)


def log_release(
    client: MlflowClient, experiment: str, run_id: str, release: Release, params: RuntimeParams, tags: dict[str, str]
) -> LoggedModel:
    """Log the model of a run.

    Args:
        client: of the tracking store.
        experiment: its id.
        run_id: of the run of the release.
        release: verified.
        params: limits of pictures and memory.
        tags: of the model.
    """
    from mlflow.entities import LoggedModelStatus

    name = f"release-{release.id}"
    model = client.create_logged_model(experiment, name, source_run_id=run_id, tags=tags, model_type="cascade")
    with TemporaryDirectory() as folder:
        _save(Path(folder), release, params)
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return model


def link_version(client: MlflowClient, model: LoggedModel, name: str, version: str) -> None:
    """Have MLflow's UI lead from the model to its version, as its server does and a database alone does not."""
    client.set_logged_model_tags(model.model_id, {VERSIONS_TAG: json.dumps([{"name": name, "version": version}])})


def _save(folder: Path, release: Release, params: RuntimeParams) -> None:
    """Write the files of the model."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types import ColSpec, Schema

    place, outputs = release.folder.resolve(), [ColSpec(kind, name) for name, kind in OUTPUTS.items()]
    pointer = Pointer(release=release.id, folder=place, manifest=sha256_file(place / MANIFEST), params=params)
    write_json(folder / POINTER, pointer.model_dump(mode="json"))
    model = Model(signature=ModelSignature(Schema([ColSpec("binary", IMAGE)]), Schema(outputs)))
    model.metadata = {"release": release.id, "source": place.as_uri()}
    add_to_model(model, loader_module=__name__, data=POINTER)
    model.save(str(folder / MLMODEL_FILE))
