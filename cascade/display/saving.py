"""The folder of `streetvision predict --save`: one JPEG an input, whose name meets no input and no other result."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from cascade.core.cascade import Prediction
    from cascade.video.clip import ClipPrediction

MARK = "_predicted"
# bytes of a stem; with mark, number and suffix a name stays under the 255 of Linux' file systems
MAX_STEM = 200


class PictureFolder:
    """Writes predicted pictures into a folder, which is made where it is missing.

    Args:
        folder: where they go.
        inputs: all files of this run: two of one name get different ones, and none of them is overwritten.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._targets = dict(zip(inputs, target_names(folder, inputs), strict=True))

    def save_image(self, path: Path, image: Image.Image, prediction: Prediction) -> Path:
        """Draw a prediction on its image and write it; give the file.

        Args:
            path: one of the inputs.
            image: upright RGB, as it was predicted.
            prediction: of the image.

        Raises:
            OSError: the file cannot be written.
        """
        from cascade.display.overlay import draw

        return self._write(path, draw(image, prediction, str(path)))

    def save_clip(self, path: Path, prediction: ClipPrediction, frames: Iterable[Image.Image]) -> Path:
        """Write the sheet of a clip's timeline; give the file.

        Args:
            path: one of the inputs.
            prediction: of the clip.
            frames: of the clip, read again.

        Raises:
            OSError: the file cannot be written.
            ValueError: the frames are not those of the timeline: the clip has changed meanwhile.
        """
        from cascade.display.clip_sheet import draw_clip

        return self._write(path, draw_clip(frames, prediction, str(path)))

    def _write(self, path: Path, image: Image.Image) -> Path:
        target = self._targets[path]
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            # full colour resolution, or thin coloured lines fade
            image.save(partial, "JPEG", quality=92, subsampling=0)
            # replaces a link of that name and not the file behind it
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target


def target_names(folder: Path, inputs: Sequence[Path]) -> list[Path]:
    """Give a file name for each input: its stem and `MARK`, with the parent's name and a number where stems are equal.

    Args:
        folder: of the results.
        inputs: in the order of the run; the same path twice gets one name.
    """
    known = {path.resolve() for path in inputs}
    stems = Counter(path.stem for path in dict.fromkeys(inputs))
    names: dict[Path, Path] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(inputs):
        stem = path.stem if stems[path.stem] == 1 else f"{path.absolute().parent.name}_{path.stem}"
        stem = os.fsencode(stem)[:MAX_STEM].decode(errors="ignore")
        number = 1
        target = folder / f"{stem}{MARK}.jpg"
        # file systems of other machines do not tell case apart
        while target.name.casefold() in taken or target.resolve() in known:
            number += 1
            target = folder / f"{stem}{MARK}-{number}.jpg"
        taken.add(target.name.casefold())
        names[path] = target
    return [names[path] for path in inputs]
