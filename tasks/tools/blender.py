"""Run a script that needs Blender: `python -m tasks.tools.blender tasks/tools/render.py --places 260 --out var/render`.

The interpreter is that of the pipeline, so that scripts run beside each other and beside a pipeline; see
`tasks.synthesis.blender_python`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tasks.data.schema import DataError
from tasks.synthesis.blender_python import blender_python


def main() -> None:
    """Become the script's process, or end with what is missing."""
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_file():
        sys.exit(f"usage: python -m tasks.tools.blender SCRIPT [OPTIONS]; no such script: {' '.join(sys.argv[1:2])}")
    try:
        python = blender_python(Path(sys.argv[1]))
    except DataError as error:
        sys.exit(str(error))
    os.execv(python, [python, *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
