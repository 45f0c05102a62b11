"""DVC in a project that is in no git repository, as one unpacked from an archive of its source."""

from __future__ import annotations

from pathlib import Path

from flows.dvc.errors import PipelineError
from tasks.common.git import has_git


def set_no_scm(root: Path) -> None:
    """Tell DVC to do without git where there is none, and take that back where there is.

    DVC looks for a repository in the folders above too, and refuses to work where it finds none, unless `core.no_scm`
    is set. It is set in `.dvc/config.local`, which git ignores.

    Raises:
        PipelineError: the file is damaged or cannot be written; the message names it.
    """
    from dvc.config import Config, ConfigError

    folder, wanted = root / ".dvc", not has_git(root)
    local = folder / "config.local"
    if not folder.is_dir():
        return
    try:
        merged = Config(str(folder), validate=False)
        own = merged.load_one("local").get("core", {})
        if wanted == bool(merged.get("core", {}).get("no_scm")) or (not wanted and "no_scm" not in own):
            return
        with merged.edit("local") as config:
            if wanted:
                config.setdefault("core", {})["no_scm"] = True
            else:
                del config["core"]["no_scm"]
    except (ConfigError, OSError) as error:
        raise PipelineError(f"{local}: {error}; correct or remove the file") from None
    if wanted:
        print(f"{root.resolve()} is in no git repository: core.no_scm is set in {local}", flush=True)
