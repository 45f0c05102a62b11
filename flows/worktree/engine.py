"""Prefect's engine with the code of the tree that PYTHONPATH names: `python -P -m flows.worktree.engine`.

Prefect enters the checkout before it imports the flow, and puts it first on the path. All packages of the project are
imported here before that, and so each of their modules, whenever it is imported, comes from the same folder.
"""

from __future__ import annotations

import importlib
import runpy

from tasks.common.imports import PACKAGES


def main() -> None:
    """Run the flow run of PREFECT__FLOW_RUN_ID."""
    for name in PACKAGES:
        importlib.import_module(name)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
