"""What to install where a library is missing, in this project's environment or in any other."""

from __future__ import annotations

from collections.abc import Sequence

from cascade.extras import PACKAGES, command, extra_of

# import names that differ from the package's, beyond those of `cascade.extras`
NAMES = {**PACKAGES, "PIL": "pillow", "yaml": "pyyaml"}


def install(modules: Sequence[str]) -> str:
    """The command that installs modules: the smallest extra that has them all, else their packages by pip."""
    packages = [NAMES.get(name, name) for name in modules]
    extra = extra_of(*packages)
    return f"`{command(extra)}`" if extra else f"`python -m pip install {' '.join(packages)}`"
