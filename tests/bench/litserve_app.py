"""The other server of `tests/bench/service.py`: the classifier behind LitServe, as its documentation shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import litserve
from PIL import Image

from cascade.preprocess.image import decode
from cascade.stages.classifier import ClassifierStage


class Api(litserve.LitAPI):
    """The picture is opened in `decode_request`, the model is called in `predict`."""

    def __init__(self, classifier: Path) -> None:
        super().__init__()
        self._classifier = classifier

    def setup(self, device: str) -> None:
        self.stage = ClassifierStage(self._classifier)
        self.stage.load()

    # LitServe reads the annotation, and without one it hands the form over
    def decode_request(self, request) -> Image.Image:  # noqa: ANN001
        return decode(request["content"].file.read(), max_pixels=50_000_000, min_side=32)

    def predict(self, image: Image.Image) -> float:
        return float(self.stage.predict([image])[0].probability or 0.0)

    def encode_response(self, output: float) -> dict[str, float]:
        return {"probability": output}


if __name__ == "__main__":
    server = litserve.LitServer(Api(Path(sys.argv[1])), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False)
