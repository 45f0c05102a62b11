"""SDXL's weights: a pinned snapshot of the Hub, resumable, safetensors only; or a folder that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tasks.common.files import sha256, sha256_file
from tasks.common.hub import Snapshot, fetch_snapshot
from tasks.config.synthesize import SdxlParams
from tasks.data.schema import DataError

CACHE = Path("var/hub")
COMPLETE = ".complete"
FOLDERS = ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")
# no pickle and no code; the fp16 files where the repository has them, which halves 14 GB
PATTERNS = ["model_index.json", *(f"{name}/{end}" for name in FOLDERS for end in ("*.json", "*.txt"))]
WEIGHTS = [f"{name}/*.safetensors" for name in ("text_encoder", "text_encoder_2", "unet", "vae")]
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".py")
LICENCES = {
    "base": "CreativeML Open RAIL++-M",
    "lightning": "OpenRAIL++ (SDXL-Lightning) and CreativeML Open RAIL++-M (base)",
    "turbo": "sai-nc-community: non-commercial",
}


@dataclass(frozen=True)
class Weights:
    """Where the weights lie and what they are.

    Attributes:
        folder: of `StableDiffusionXLPipeline`.
        unet: SDXL-Lightning's file, which takes the place of the folder's UNet; None for the others.
        identity: repositories and revisions, or digests; part of every picture's origin, without paths.
    """

    folder: Path
    unet: Path | None
    identity: dict[str, str]


def find_weights(params: SdxlParams) -> Weights:
    """Say where the weights are to lie, without fetching anything: finished pictures need no weights.

    Raises:
        DataError: `sdxl.folder` is no diffusers folder, or holds pickles or code.
    """
    if params.folder is None:
        folder = _cached(params.repo, params.revision)
        identity = {"model": params.repo, "revision": str(params.revision)}
    else:
        folder, identity = params.folder, _local_identity(params.folder)
    if params.variant != "lightning":
        return Weights(folder, None, identity)
    home = params.folder or _cached(params.lightning_repo, params.lightning_revision)
    unet = home / params.lightning_file
    extra = {"unet": f"{params.lightning_repo}/{params.lightning_file}"}
    extra["unet_revision"] = sha256_file(unet) if params.folder and unet.is_file() else str(params.lightning_revision)
    return Weights(folder, unet, {**identity, **extra})


def fetch(params: SdxlParams) -> None:
    """Bring what is missing from the Hub; an interrupted download goes on where it stopped.

    Raises:
        HubError: the Hub does not answer or refuses, or the disk is too small.
        DataError: Lightning's file is not there.
    """
    weights = find_weights(params)
    if params.folder is None:
        _bring(pipeline_snapshot(params.repo, str(params.revision)))
    if weights.unet is None:
        return
    if params.folder is None:
        _bring(pipeline_snapshot(params.lightning_repo, str(params.lightning_revision), (params.lightning_file,)))
    if not weights.unet.is_file():
        raise DataError(f"{weights.unet}: no such file (synthesize.sdxl.lightning_file)")


def pipeline_snapshot(repo: str, revision: str, names: tuple[str, ...] = ()) -> Snapshot:
    """The snapshot of a diffusers pipeline, or of some of its files.

    Args:
        repo: owner and name.
        revision: commit.
        names: exact names that are wanted in place of a whole pipeline.
    """
    return Snapshot(
        repo,
        revision,
        folder=_cached(repo, revision),
        chooser=lambda files: choose_files(files, names),
        stage="synthesize",
    )


def is_complete(snapshot: Snapshot) -> bool:
    """Whether all of a pipeline was fetched, so that no request to the Hub is needed."""
    return snapshot.folder is not None and (snapshot.folder / COMPLETE).is_file()


def mark_complete(snapshot: Snapshot) -> None:
    """Note that all of a pipeline was fetched."""
    if snapshot.folder is not None:
        (snapshot.folder / COMPLETE).touch()


def _bring(snapshot: Snapshot) -> None:
    if not is_complete(snapshot):
        fetch_snapshot(snapshot)
        mark_complete(snapshot)


def _cached(repo: str, revision: str | None) -> Path:
    return CACHE / repo.replace("/", "--") / str(revision)


def _local_identity(folder: Path) -> dict[str, str]:
    if not (folder / "model_index.json").is_file():
        raise DataError(f"{folder}: no diffusers folder, it has no model_index.json (synthesize.sdxl.folder)")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if unsafe := [path.relative_to(folder).as_posix() for path in files if path.suffix in PICKLES]:
        raise DataError(f"{folder}: holds {', '.join(unsafe)}; only safetensors and JSON are loaded, remove the rest")
    digests = "".join(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n" for path in files)
    return {"model": "local folder", "revision": sha256(digests.encode())}


def choose_files(files: list[str], names: Sequence[str] = ()) -> list[str]:
    """Which files of a repository are fetched: settings, and of each model its fp16 weights or else its only ones.

    Args:
        files: all that the repository has.
        names: exact names that are wanted in place of a whole pipeline.

    Raises:
        DataError: the repository has no safetensors of some model, or not the file.
    """
    if names:
        if missing := [name for name in names if name not in files or not name.endswith(".safetensors")]:
            raise DataError(f"{', '.join(missing)}: not among the repository's safetensors files")
        return list(names)
    chosen = [name for name in files if any(fnmatch(name, glob) for glob in PATTERNS)]
    for glob in WEIGHTS:
        found = [name for name in files if fnmatch(name, glob)]
        half = [name for name in found if ".fp16." in name]
        if not found:
            raise DataError(f"the repository has no {glob}; other formats are not loaded")
        chosen += half or found
    return chosen


def facts(params: SdxlParams, weights: Weights) -> dict[str, Any]:
    """The engine in the manifest: licence, weights and settings."""
    settings = {name: getattr(params, name) for name in ("steps", "guidance", "strength", "width", "height")}
    licence = LICENCES[params.variant]
    return {"source": "sdxl", "variant": params.variant, "licence": licence, **weights.identity, **settings}
