"""Versions of installed libraries by the name they are imported under."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from importlib.util import find_spec

# Distributions that are named otherwise than what they are imported as. Any other is found too, but searching the
# files of all that is installed takes about a second.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "awq": "autoawq",
    "cv2": "opencv-python-headless",
    "faiss": "faiss-cpu",
    "pynvml": "nvidia-ml-py",
    "ruamel": "ruamel.yaml",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
ABSENT = "absent"


@cache
def library_version(name: str) -> str:
    """Version of the library that `import name` loads; `absent` where it is not installed.

    Args:
        name: first part of the name in the import statement.
    """
    try:
        return metadata.version(DISTRIBUTIONS.get(name, name))
    except metadata.PackageNotFoundError:
        if find_spec(name) is None:
            return ABSENT
    owners = sorted(set(metadata.packages_distributions().get(name, [])))
    return ", ".join(f"{owner} {metadata.version(owner)}" for owner in owners) or "of no distribution"
