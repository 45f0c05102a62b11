"""Section `scale`, and that nothing of Ray is needed or loaded where it runs in this process."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cascade.config import ConfigError
from cascade.extras import MissingExtraError, extra_of
from tasks.config.scale import ScaleParams, load_scale_params
from tasks.scale.engine import run_items
from tasks.scale.errors import ScaleError
from tests.support import tiny
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("scale: {engine: spark}", "scale.engine"),
        ("scale: {workers: 2}", "scale.workers"),
        ("scale: {shard_pictures: 0}", "scale.shard_pictures"),
        ("scale: {cpus: 0}", "scale.cpus"),
        ("scale: {actors: none}", "scale.actors"),
    ],
)
def test_a_section_that_does_not_fit_names_the_key(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=key):
        load_scale_params(tmp_path / "params.yaml")


def test_without_the_section_it_runs_here_and_other_sections_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("train: nonsense")
    assert load_scale_params(tmp_path / "params.yaml") == ScaleParams()
    assert load_scale_params(ROOT / "params.yaml") == ScaleParams()


def test_without_ray_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"`ray` \(not installed: ray\); `uv sync .*--extra ray` adds it"):
        list(run_items(ScaleParams(engine="ray"), NoWorker, [1]))
    assert extra_of("ray") == "ray"


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379", "127.0.0.1:head"])
def test_a_cluster_that_is_not_there_is_one_line_at_once(address: str) -> None:
    with pytest.raises(ScaleError, match=f"scale.address {address}: no Ray cluster answers there"):
        list(run_items(ScaleParams(engine="ray", address=address), NoWorker, [1]))


class NoWorker:
    """Is not opened."""


def test_a_local_run_imports_nothing_of_ray(tmp_path: Path) -> None:
    release = tiny.write_release(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(tiny.encoded(tiny.street(tiny.ORANGE)))
    script = f"""
import sys
from pathlib import Path
from tasks.config.scale import ScaleParams
from tasks.scale import embed, mine
from tasks.scale.predict import predict_batch
from tests.support import tiny

folder, release = Path({str(tmp_path)!r}), Path({str(release.folder)!r})
report = predict_batch(folder / "in", folder / "out", tiny.runtime_params(), ScaleParams(), release)
print(report["roadwork"], [name for name in sys.modules if name.split(".")[0] == "ray"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "1 []\n"
