"""A real but tiny classifier and pictures to feed it, for tests of the runtime.

The classifier is one matrix product in ONNX: how much redder than blue the upper half of the picture is. An orange
upper half is roadwork, a blue one is clear, and a picture turned upside down answers differently.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from cascade.config import RuntimeParams, ServeParams
from cascade.release.build import build_release
from cascade.release.store import CascadeSettings, Release, set_champion

SIZE = 224
ORANGE, BLUE = (250, 130, 10), (20, 60, 200)
CONTRACT = {
    "input": {"dtype": "uint8", "shape": [None, SIZE, SIZE, 3]},
    "output": {"name": "logit", "shape": [None]},
    "max_batch": 32,
}
CLASSIFIER = {
    "exits": {"high": 0.88, "low": 0.12},
    "engine": "onnxruntime",
    "precision": "fp32",
    "size": SIZE,
    "threads": 1,
    "layers": [1],
    "calibration": {"a": 1.0, "b": 0.0},
}
METRICS = {"mcc": 0.91, "accuracy": 0.95}


def write_classifier(folder: Path, *, dtype: str = "uint8", size: int = SIZE, gain: float = 10.0) -> Path:
    """Write a classifier folder as the export stage does; `dtype` and `size` can break it."""
    import onnx
    from onnx import TensorProto, helper

    weight = np.zeros((size, size, 3), dtype=np.float32)
    weight[: size // 2, :, 0], weight[: size // 2, :, 2] = 1.0, -1.0
    weight *= gain / 255 / (size * size / 2)
    kind = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}[dtype]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["real"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weight"], ["column"]),
            helper.make_node("Squeeze", ["column", "axis"], ["logit"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", kind, ["batch", size, size, 3])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch"])],
        [
            onnx.numpy_helper.from_array(weight.reshape(-1, 1), "weight"),
            onnx.numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "classifier.onnx")
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    (folder / "classifier.json").write_text(json.dumps(CLASSIFIER))
    (folder / "parity.json").write_text(json.dumps({"max_gap": 0.0}))
    return folder


def write_metrics(path: Path) -> Path:
    """Write a gate's report as the validate stage does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(METRICS))
    return path


def write_release(
    root: Path, *, engine: str = "onnxruntime", gain: float = 10.0, settings: CascadeSettings | None = None
) -> Release:
    """Build a release of the tiny classifier under `root`/releases and make it the champion."""
    classifier = write_classifier(root / "classifier", gain=gain)
    (classifier / "classifier.json").write_text(json.dumps({**CLASSIFIER, "engine": engine}))
    report = write_metrics(root / "metrics.json")
    revision = {"data": "d" * 64, "code": "c" * 40}
    if settings is not None:
        (root / "cascade.json").write_text(settings.model_dump_json())
    chosen = None if settings is None else root / "cascade.json"
    release = build_release(classifier, report, root / "releases", revision=revision, settings=chosen)
    return set_champion(root / "releases", release.id)


def serve_params(**changes: object) -> ServeParams:
    """Give section `serve` for tests."""
    given = {"host": "127.0.0.1", "port": 0, "max_images": 4, "max_bytes": 2_000_000, "deadline_seconds": 5.0}
    return ServeParams.model_validate({**given, **changes})


def runtime_params(*, serve: dict[str, object] | None = None, **sections: object) -> RuntimeParams:
    """Give the runtime's sections for tests; without an inbox or a cache."""
    return RuntimeParams.model_validate({"serve": serve_params(**(serve or {})), **sections})


def street(
    top: tuple[int, int, int], bottom: tuple[int, int, int] = (90, 90, 90), *, size: tuple[int, int] = (400, 300)
) -> Image.Image:
    """Draw a picture of two halves."""
    image = Image.new("RGB", size, bottom)
    image.paste(top, (0, 0, size[0], size[1] // 2))
    return image


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sideways(image: Image.Image) -> bytes:
    """Encode as a camera held sideways does: pixels turned, EXIF orientation 6 (turn by 90 degrees clockwise)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


def animation() -> bytes:
    """Encode a GIF of two frames."""
    return encoded(street(ORANGE), "GIF", save_all=True, append_images=[street(BLUE)])


def png16(image: Image.Image) -> bytes:
    """Encode a PNG of 16 bits a channel, which Pillow reads but does not write in colour."""
    return png_rgb16(np.asarray(image).astype(np.uint16) * 257)


def png_rgb16(values: np.ndarray) -> bytes:
    """Encode colours of 16 bits a channel, shape (height, width, 3)."""
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return _png(values.shape[1], values.shape[0], 16, zlib.compress(rows))


def png_grey16(values: np.ndarray) -> bytes:
    """Encode a PNG of 16 bits grey."""
    return encoded(Image.fromarray(values.astype(np.uint16)), "PNG")


def png_with(png: bytes, *chunks: tuple[bytes, bytes], sound: bool = True) -> bytes:
    """Put chunks behind the header of a PNG; those that are not sound have a wrong checksum."""
    written = b"".join(_chunk(kind, content) for kind, content in chunks)
    if not sound:
        written = written[:-1] + bytes([written[-1] ^ 1])
    return png[:33] + written + png[33:]


def bomb(side: int = 60_000) -> bytes:
    """Encode a header that claims `side` x `side` pixels, with next to nothing behind it."""
    return _png(side, side, 8, zlib.compress(b"\0" * 1000))


def _png(width: int, height: int, depth: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
