"""Engine `render`: new Blender scenes by tasks/tools/render.py, which runs in an environment of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.process.supervisor import Supervised
from tasks.common.files import sha256
from tasks.config import SynthesizeParams
from tasks.data.schema import DataError
from tasks.synthesis.work import WORK, SyntheticImage, fingerprint, workplace
from tasks.tools import render
from tasks.tools.sample import rendered, to_row

SCRIPT = Path(render.__file__)
SCENES = Path(__file__).parent / "blender"
SHOTS = 4  # a place: two with roadworks, two without
EACH = SHOTS // 2
# an interpreter that has bpy, for machines where uv cannot fetch Blender's wheel
PYTHON = "STREETVISION_RENDER_PYTHON"
OWN_UV = Path("var/uv/bin/uv")
TAIL = 2000  # characters of the renderer's last words that an error repeats
HELP = (
    f"The renderer needs uv (`python3 -m pip install --target {OWN_UV.parent.parent} uv`), which fetches bpy 4.5.15 "
    f"(373 MB) on the first run; or set {PYTHON} to a Python 3.11 that has bpy==4.5.15, pillow and tqdm. Blender's "
    "module wants the system libraries libX11, libXrender, libXxf86vm, libXi, libXfixes, libxkbcommon, libSM, libGL"
)


@dataclass
class RenderedImages:
    """What came of rendering: pictures in the order of their names, and how many were left out, by reason."""

    pictures: list[SyntheticImage] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    places: int = 0


def make(
    params: SynthesizeParams, root: Path = WORK, script: Path = SCRIPT
) -> tuple[list[SyntheticImage], dict[str, Any]]:
    """Render places until both counts are reached, or `render.max_places` are spent.

    Args:
        params: section `synthesize`.
        root: where work folders lie.
        script: the renderer; it leaves a JPEG and a JSON file a picture, the picture last.

    Returns:
        The pictures, and what the manifest says of the engine.

    Raises:
        DataError: the renderer cannot run, or its places are spent and there is no picture of a label that is wanted.
    """
    name = work_name(params, script)
    wanted = {1: params.num_positive, 0: params.num_negative}
    with workplace(root, name) as (folder, lock):
        _wait_for_workers(folder)
        made = RenderedImages()
        places = min(_places(max(wanted.values())), params.render.max_places)
        while True:
            _run(params, script, folder, lock, places)
            made = _collect(params, folder, wanted, places, revision(script))
            short = max(wanted[label] - _count(made, label) for label in wanted)
            if short <= 0 or places == params.render.max_places:
                break
            places = min(places + _places(short), params.render.max_places)
    _check(made, wanted, params)
    return made.pictures, {
        "source": "rendered",
        "revision": revision(script),
        "bpy": "4.5.15",
        "seed": params.seed,
        "places": made.places,
        **params.render.model_dump(mode="json"),
        "left_out": dict(made.left_out),
        "work": name,
    }


def _places(pictures: int) -> int:
    return -(-pictures // EACH)


def work_name(params: SynthesizeParams, script: Path = SCRIPT) -> str:
    """The work folder of these settings; counts and slices choose among its pictures and are no part of its name."""
    look = {"samples": params.render.samples, "distances": params.render.distances}
    return fingerprint({"engine": "render", "seed": params.seed, "code": revision(script), **look})


def revision(script: Path = SCRIPT) -> str:
    """Digest of the renderer's code, which stands for a model's revision."""
    return sha256(b"".join(path.read_bytes() for path in [script, *sorted(SCENES.glob("*.py"))]))


def command(params: SynthesizeParams, script: Path, folder: Path, places: int) -> list[str]:
    """The renderer's command line.

    Raises:
        DataError: neither uv nor an interpreter is there.
    """
    options = ["--first", str(params.render.first), "--places", str(places), "--shots", str(SHOTS)]
    options += ["--seed", str(params.seed), "--samples", str(params.render.samples), "--out", str(folder)]
    options += ["--distances", *map(str, params.render.distances)]
    if python := os.environ.get(PYTHON):
        return [python, str(script), *options]
    uv = shutil.which("uv") or (str(OWN_UV) if OWN_UV.is_file() else None)
    if uv is None:
        raise DataError(f"no uv on this machine. {HELP}")
    return [uv, "run", "--script", str(script), *options]


def _run(params: SynthesizeParams, script: Path, folder: Path, lock: int, places: int) -> None:
    """Render what is missing; the renderer's progress bar goes to stderr as it comes."""
    if all(_path(folder, params, index, shot).is_file() for index in range(places) for shot in range(SHOTS)):
        return
    line = command(params, script, folder, places)
    try:
        # the lock goes along: see `workplace`
        process = Supervised(line, stderr=subprocess.PIPE, pass_fds=(lock,))
    except OSError as error:
        raise DataError(f"{line[0]}: {error}. {HELP}") from None
    with process:
        said = _echo(process)
        code = process.wait()
    if code:
        raise DataError(f"the renderer failed (exit {code}): {said.strip()}\n{HELP}")


def _echo(process: Supervised) -> str:
    assert process.stderr is not None, "it was asked for"  # noqa: S101
    said = ""
    # what is there, not a full buffer: a progress bar should move
    while block := os.read(process.stderr.fileno(), 1 << 16):
        text = block.decode(errors="replace")
        sys.stderr.write(text)
        sys.stderr.flush()
        said = (said + text)[-TAIL:]
    return said


def _path(folder: Path, params: SynthesizeParams, index: int, shot: int) -> Path:
    return folder / f"p{params.seed}_{params.render.first + index:04d}_{shot}.jpg"


def _collect(params: SynthesizeParams, folder: Path, wanted: dict[int, int], places: int, code: str) -> RenderedImages:
    """Take what fits, in the order of places, up to the counts; a folder may hold more from a larger order."""
    made = RenderedImages(places=places)
    ours = {_path(folder, params, index, shot) for index in range(places) for shot in range(SHOTS)}
    shown = [(path, facts) for path, facts in rendered(folder) if path in ours]
    made.left_out["works_too_small"] = len(ours) - len(shown)
    for path, facts in shown:
        if any(facts[name] not in values for name, values in params.slices.items()):
            made.left_out["outside_slices"] += 1
        elif _count(made, facts["label"]) == wanted[facts["label"]]:
            made.left_out["surplus"] += 1
        else:
            made.pictures.append(SyntheticImage(to_row(path, facts, ""), _origin(params, facts, code)))
    return made


def _origin(params: SynthesizeParams, facts: dict[str, Any], code: str) -> dict[str, Any]:
    scene = {name: facts[name] for name in ("road", "region", "time", "weather", "distance", "share")}
    return {
        "engine": "render",
        "model": "tasks/tools/render.py",
        "revision": code,
        "seed": facts["seed"],
        "scene": scene,
        "samples": params.render.samples,
        "distances": list(params.render.distances),
    }


def _count(made: RenderedImages, label: int) -> int:
    return sum(picture.row.label == label for picture in made.pictures)


def _check(made: RenderedImages, wanted: dict[int, int], params: SynthesizeParams) -> None:
    advice = f"synthesize.render.max_places is {params.render.max_places}; left out: {dict(made.left_out)}"
    for label, count in wanted.items():
        found = _count(made, label)
        text = f"{made.places} places gave {found} of {count} pictures with label {label}; {advice}"
        if count and not found:
            raise DataError(text)
        if found < count:
            print(f"synthesize: {text}", file=sys.stderr)


def _wait_for_workers(folder: Path) -> None:
    """Wait for worker processes whose renderer was killed, and which still write the same files."""
    for path in sorted(folder.glob(".core*")):
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
