"""SDXL's weights: a pinned snapshot of the Hub, resumable, safetensors only; or a folder that is there already."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tasks.common.files import sha256, sha256_file
from tasks.config.synthesize import SdxlParams
from tasks.data.schema import DataError

CACHE = Path("var/hub")
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
    """Say where the weights are to lie, without fetching anything: what is finished needs none.

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
        DataError: the Hub does not answer or refuses, the disk is too small, or Lightning's file is not there.
    """
    weights = find_weights(params)
    if params.folder is None:
        _snapshot(params.repo, str(params.revision), weights.folder, None)
    if weights.unet is None:
        return
    if params.folder is None:
        _snapshot(params.lightning_repo, str(params.lightning_revision), weights.unet.parent, [params.lightning_file])
    if not weights.unet.is_file():
        raise DataError(f"{weights.unet}: no such file (synthesize.sdxl.lightning_file)")


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


def _snapshot(repo: str, revision: str, folder: Path, names: list[str] | None) -> None:
    from huggingface_hub import HfApi, snapshot_download

    done = folder / ".complete"
    if done.is_file():
        return
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        sizes = {item.rfilename: item.size or 0 for item in info.siblings or []}
        chosen = choose_files(list(sizes), names)
        _check_space(sum(sizes[name] for name in chosen), folder)
        snapshot_download(repo, revision=revision, local_dir=folder, allow_patterns=chosen)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{repo}@{revision}: {error}; run again to go on with the download") from None
    done.touch()


def choose_files(files: list[str], names: list[str] | None = None) -> list[str]:
    """Which files of a repository are fetched: settings, and of each model its fp16 weights or else its only ones.

    Args:
        files: all that the repository has.
        names: exact names that are wanted in place of a whole pipeline.

    Raises:
        DataError: the repository has no safetensors of some model, or not the file.
    """
    if names is not None:
        if missing := [name for name in names if name not in files or not name.endswith(".safetensors")]:
            raise DataError(f"{', '.join(missing)}: not among the repository's safetensors files")
        return names
    chosen = [name for name in files if any(fnmatch(name, glob) for glob in PATTERNS)]
    for glob in WEIGHTS:
        found = [name for name in files if fnmatch(name, glob)]
        half = [name for name in found if ".fp16." in name]
        if not found:
            raise DataError(f"the repository has no {glob}; other formats are not loaded")
        chosen += half or found
    return chosen


def _check_space(needed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free, spare = shutil.disk_usage(folder).free, 1 << 30
    if free < needed + spare:
        gib = 1 << 30
        raise DataError(f"{folder}: {needed / gib:.1f} GiB and 1 GiB to spare are needed, {free / gib:.1f} are free")


def facts(params: SdxlParams, weights: Weights) -> dict[str, Any]:
    """What the manifest says of the engine: licence, weights and settings."""
    settings = {name: getattr(params, name) for name in ("steps", "guidance", "strength", "width", "height")}
    licence = LICENCES[params.variant]
    return {"source": "sdxl", "variant": params.variant, "licence": licence, **weights.identity, **settings}
