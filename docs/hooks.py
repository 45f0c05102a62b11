"""Hooks of `mkdocs build`: pages that lie outside docs/, and links to files that the site does not hold.

mkdocs calls the functions by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# page of the site: file of the repository
OUTSIDE = {"quickstart.md": "README.md", "third-party.md": "THIRD_PARTY.md"}
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of files outside docs/."""
    from mkdocs.structure.files import File

    for page, name in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to where the site has what they name; of a file that it does not have the name stays."""
    source = page.file.src_uri
    folder = ROOT if source in OUTSIDE else (ROOT / "docs" / source).parent
    return LINK.sub(lambda link: _resolved(link, folder, source), markdown)


def _resolved(link: re.Match[str], folder: Path, source: str) -> str:
    target = link["target"]
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    file = (folder / target).resolve()
    if file.is_relative_to(ROOT / "docs"):
        name = file.relative_to(ROOT / "docs").as_posix()
    else:
        name = next((page for page, other in OUTSIDE.items() if ROOT / other == file), "")
    if file.is_dir() or not name:
        return f"{link['text']} (`{file.relative_to(ROOT)}`)" if file.exists() else link[0]
    up = "../" * source.count("/")
    return f"[{link['text']}]({up}{name}{link['anchor'] or ''})"
