"""What the tests of synthesis share: the section of params.yaml with changes, a made-up scorer, a stand-in renderer."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tasks.common.files import sha256_file
from tasks.config import SynthesizeParams
from tasks.data.schema import DataError
from tasks.synthesis.blender_python import blender_python
from tasks.synthesis.renderer import SCRIPT, Renderer

ROOT = Path(__file__).resolve().parents[2]
# what tasks/tools/render.py promises: its options, a JPEG and a JSON file a picture, the JPEG last, nothing made twice
RENDERER = """
import argparse, json, random, sys, time
from pathlib import Path
from PIL import Image
parser = argparse.ArgumentParser()
for name in ("first", "places", "shots", "seed", "samples", "processes"):
    parser.add_argument(f"--{name}", type=int)
parser.add_argument("--distances", type=float, nargs="+")
parser.add_argument("--out", type=Path)
o = parser.parse_args()
for index in range(o.first, o.first + o.places):
    for shot in range(o.shots):
        target = o.out / f"p{o.seed}_{index:04d}_{shot}.jpg"
        if target.exists():
            continue
        with (o.out.parent / "made.log").open("a") as log:
            log.write(target.name + "\\n")
        label = int(shot % 2 == 0)
        box = {"category": "cone", "bbox": [10, 20, 30, 40]}
        facts = {
            "label": label, "objects": [box] * label, "time": ["noon", "night"][index % 2], "weather": "clear",
            "road": "city", "region": "us", "distance": "near" if label else "none",
            "share": SHARE * label, "place": f"rendered-{o.seed}-{index:04d}", "seed": f"{o.seed} {index} {shot}",
        }
        target.with_suffix(".json").write_text(json.dumps(facts))
        noise = random.Random(f"{o.seed} {index} {shot}").randbytes(16 * 12 * 3)
        time.sleep(PAUSE)
        partial = target.with_suffix(".part")
        Image.frombytes("RGB", (16, 12), noise).resize((400, 300), Image.Resampling.BICUBIC).save(partial, "JPEG")
        partial.replace(target)
"""


def reason_to_skip_blender() -> str:
    """Why Blender cannot be run without a download; empty where it can.

    uv looks the environment up offline: 373 MB are not fetched for a test.
    """
    try:
        python = blender_python(SCRIPT, offline=True)
    except DataError as error:
        return f"bpy is not in uv's cache: {error}"
    done = subprocess.run([python, "-c", "import bpy"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"bpy cannot be imported: {done.stderr.strip()[-200:]}"


def params(**changes: Any) -> SynthesizeParams:
    """Give section `synthesize` of params.yaml; `sdxl__steps=2` changes a key of a section within."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["synthesize"]
    for key, value in {"num_positive": 6, "num_negative": 6, **changes}.items():
        *above, last = key.split("__")
        target = document
        for name in above:
            target = target[name]
        target[last] = value
    return SynthesizeParams.model_validate(document)


class Head:
    """A scorer that gives every picture the same probability of roadwork, or each of a list in turn."""

    size = 224

    def __init__(self, *probability: float) -> None:
        self._probability = probability

    def score(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Probabilities (n,), and no embeddings."""
        values = np.resize(np.array(self._probability, dtype=np.float64), len(pixels))
        return values, np.zeros((len(pixels), 0), dtype=np.float32)


def write_renderer(folder: Path, *, share: float = 0.2, pause: float = 0.0, ending: str = "") -> Path:
    """Write the stand-in renderer; its works cover `share` of a picture, and it does `ending` when it is done."""
    script = folder / "render.py"
    text = RENDERER.replace("SHARE", str(share)).replace("PAUSE", str(pause))
    script.write_text(f"{text}\n{ending}\n", encoding="utf-8")
    return script


def stand_in(script: Path) -> Renderer:
    """The stand-in renderer, with the digest of its text as its revision."""
    return Renderer(script, sha256_file(script))


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
