"""A small project with one step, laid out like this one: our `tasks.common` and configuration, a library, a script."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.paths import ROOT

STEP = '''
"""Step `demo`."""

import argparse
import sys
import time
from pathlib import Path

from tasks.common.step import step_main
from tasks.helper import made


def _flags(parser):
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--ship", action="store_true")


def _run(params, options):
    with Path("runs.txt").open("a") as stream:
        stream.write("x")
    name = "out_new" if options.new else "out"
    Path(name).mkdir(exist_ok=True)
    Path(name, "a").write_text(made())
    while made().strip() == "wait":
        time.sleep(0.01)
    Path(f"{name}.json").write_text(str(params.embed.size))
    return {"size": params.embed.size}


main = step_main("demo", _run, __doc__, flags=_flags, scripts=["tasks.scripts.*"])

if __name__ == "__main__":
    sys.exit(main())
'''
HELPER = '''
"""Help."""
from pathlib import Path

TIMES = 1  # as often


def made():
    import demo_library

    return Path("data/in.txt").read_text() * TIMES
'''
DVC = """
stages:
  demo:
    cmd: python -m tasks.demo
    deps: [data, tasks/common, tasks/helper.py]
    params: [embed.size, serve]
    outs: [out: {persist: true}]
    metrics: [out.json: {cache: false, persist: true}]
  demo_new:
    cmd: python -m tasks.demo --new
    deps: [data, tasks]
    outs:
      - out_new
  several:
    cmd: [python -m tasks.other, "true"]
"""
FILES = {
    "tasks/__init__.py": "",
    "tasks/demo.py": STEP,
    "tasks/helper.py": HELPER,
    "tasks/words.yaml": "en: [road]\n",
    "tasks/scripts/__init__.py": "",
    "tasks/scripts/paint.py": "import bpy\nSIDES = 4\n",
    "data/in.txt": "text\n",
    "data/more/b.txt": "1\n",
    "dvc.yaml": DVC,
    "demo_library.py": "",
    "demo_library-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo_library\nVersion: 1.0\n",
}
Change = Callable[[Path], object]


def write_project(root: Path) -> Path:
    """Write it into an empty folder."""
    for name, text in FILES.items():
        put(name, text)(root)
    for name in ("tasks/common", "tasks/config", "cascade"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    return root


def edit(name: str, old: str, new: str) -> Change:
    """A change of a file: one text in the place of another."""

    def change(project: Path) -> None:
        text = (project / name).read_text(encoding="utf-8")
        assert old in text
        (project / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def put(name: str, text: str) -> Change:
    """A change of a file's whole content."""

    def change(project: Path) -> None:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")

    return change
