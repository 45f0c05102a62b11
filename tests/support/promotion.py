"""A folder in which releases can be promoted: parameters, challenge images, MLflow's database, tiny releases."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from cascade.api.process import readiness, running, status, stop
from cascade.release.store import RELEASES, Release, load_release
from deploy.nginx import front as nginx
from tasks.config import load_params
from tasks.release import ledger
from tasks.release.collect import assemble
from tasks.release.promotion import journal, retire
from tasks.release.promotion.doors import Request, door, live_id, promote_release, rollback_release
from tasks.release.registry import register
from tasks.release.tracking import connect
from tests.support import tiny
from tests.support.paths import ROOT

# short, and without a limit that a busy machine breaks
PROMOTION: dict[str, Any] = {
    "front": "nginx",
    "keep_blue_seconds": 60,
    "min_free_gib": 0,
    "watch": {"golden": 2, "seconds": 0.3, "min_requests": 2, "max_p95_seconds": 30},
}


def make_project(folder: Path, mlflow_database: Path, **promotion: Any) -> Path:
    """Write what a folder needs after its pipeline has run; give the folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["serve"]["port"], params["promotion"] = 0, PROMOTION | promotion
    params["cache"]["folder"], params["inbox"]["enabled"] = None, False
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    tiny.write_classifier(folder / "models/classifier")
    (folder / "var").mkdir()
    shutil.copyfile(mlflow_database, folder / "var" / "mlflow.db")
    (folder / "data/pulled").mkdir(parents=True)
    rows = [
        {"image": {"bytes": data, "path": f"{n}.jpg"}, "label": label} for n, (data, label) in enumerate(pictures())
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/pulled/challenge.parquet")
    return folder


def pictures() -> list[tuple[bytes, int]]:
    """Two pictures with their labels."""
    return [(tiny.encoded(tiny.street(tiny.ORANGE)), 1), (tiny.encoded(tiny.street(tiny.BLUE)), 0)]


def build(mcc: float, *, registered: bool = True) -> Release:
    """Build a release whose challenge MCC is the given one, in the current folder, and register it."""
    report = Path("reports/validate/metrics.json")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"mcc": mcc, "accuracy": 0.9}), encoding="utf-8")
    release = assemble()
    if registered:
        register(load_params(), release, "flow")
    return release


def promote(release: Release, why: str = "test", say: Any = print) -> None:
    """Promote as the command does."""
    params = load_params()
    with door(params, f"promotion of {release.id}", say) as front:
        promote_release(params, front, release, Request(why, who="ada"), say)


def load(release_id: str) -> Release:
    """A release of the current folder."""
    return load_release(RELEASES / release_id)


def rollback(release: str | None = None, say: Any = print) -> None:
    """Go back as the command does."""
    params = load_params()
    with door(params, "rollback", say, strict=False) as front:
        rollback_release(params, front, release, Request("test", who="bob"), say)


def stop_all() -> None:
    """Stop everything of the current folder."""
    retire.keep_all()
    nginx.stop()
    stop()


@dataclass(frozen=True)
class Standing:
    """What each part says is live; all are one release when they agree."""

    pointer: str | None
    note: str | None
    answers: str | None
    alias: str | None
    ledger: str | None

    def is_(self, release: str | None) -> bool:
        """Whether all parts say this."""
        return {self.pointer, self.note, self.answers, self.alias, self.ledger} == {release}


def standing() -> Standing:
    """Ask pointer, service, front, MLflow and ledger of the current folder."""
    params, live = load_params(), status()
    client, model = connect(params), params.register_.model
    version = client.get_registered_model(model).aliases.get("champion") if _registered(client, model) else None
    tags = client.get_model_version(model, version).tags if version else {}
    lines = ledger.read()
    return Standing(
        pointer=live_id(),
        note=live.release if live else None,
        answers=(readiness(live.url) or ("", None))[1] if live else None,
        alias=tags.get("streetvision.release"),
        ledger=lines[-1].release if lines else None,
    )


def _registered(client: Any, model: str) -> bool:
    return any(one.name == model for one in client.search_registered_models())


def leftovers(*, warm: Collection[str] = ()) -> list[str]:
    """What a finished run must not leave: services beside the live and the warm ones, a journal, partial folders."""
    live = status()
    kept = {live.release if live else None, *warm}
    strays = [one.release for one in running() if one.release not in kept]
    partial = [path.name for path in RELEASES.glob(".new-*")] if RELEASES.is_dir() else []
    return strays + partial + ([str(journal.JOURNAL)] if journal.JOURNAL.exists() else [])


def warm_releases() -> set[str]:
    """Releases whose services somebody will stop."""
    return {one.release for one in running() if retire.is_warm(one)}


@dataclass
class Load:
    """What clients saw: each answer's begin, end (monotonic seconds), status and release."""

    answers: list[tuple[float, float, int, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Requests without an answer of 200."""
        return self.faults + [f"HTTP {code}" for _, _, code, _ in self.answers if code != 200]


@contextmanager
def clients(url: str, count: int = 4, pause: float = 0.0) -> Iterator[Load]:
    """Send pictures from several clients, one request after the other, while the block runs."""
    seen, over = Load(), threading.Event()
    picture = pictures()[0][0]

    def work() -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not over.is_set():
                begin = time.monotonic()
                try:
                    answer = client.post(f"{url}/v1/predict", files=[("files", ("a.jpg", picture, "image/jpeg"))])
                    release = answer.json()["results"][0]["release"] if answer.status_code == 200 else answer.text[:200]
                    seen.answers.append((begin, time.monotonic(), answer.status_code, release))
                except Exception as error:
                    seen.faults.append(f"{time.monotonic() - begin:.3f} s: {error!r}")
                time.sleep(pause)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for one in threads:
        one.start()
    try:
        yield seen
    finally:
        over.set()
        for one in threads:
            one.join()
