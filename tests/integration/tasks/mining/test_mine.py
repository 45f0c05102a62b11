"""Mining with everything real: backbone, a trained probe, mongod, FiftyOne and its Brain, over drawn streets."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cascade.inbox.store import HARD, entries, save
from tasks.classifier.embedding import embed
from tasks.common.files import read_json, sha256
from tasks.config import MineParams
from tasks.config.scale import SelectionParams
from tasks.data.batches import MANIFEST, SHEET
from tasks.data.schema import DataError, read_records, split_file
from tasks.mining import database
from tasks.mining.brain import MAP, SIMILARITY
from tasks.mining.database import DatabaseDown, connect
from tasks.mining.dataset import batch_tag, chosen_from, open_dataset
from tasks.mining.mine import MiningEngine, MiningInputs, mine
from tasks.mining.scorer import ProbeScorer
from tasks.mining.sources import Candidate, gather
from tasks.mining.space import Space, hardness, uniqueness
from tasks.probe import probe
from tests.integration.tasks.conftest import ROOT, Workplace
from tests.support.drawn import encode, row, street, write_parquet
from tests.support.mining import mine_params

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
# drawn streets are more alike than real ones
PARAMS = mine_params(budget=6, duplicate_distance=0.02, challenge_distance=0.02, dataset="mined")
FLIPPED = 3  # the row of the training split whose label is wrong


@dataclass(frozen=True)
class Place:
    """Where batches go, and what `mine` reads beside params and candidates."""

    root: Path
    inputs: MiningInputs

    def run(self, name: str, candidates: Iterator[Candidate], params: MineParams = PARAMS) -> dict[str, Any]:
        return mine(params, candidates, batch=self.root / name, date="2026-01-02", inputs=self.inputs)


@pytest.fixture(scope="module")
def place(workplace: Workplace, tmp_path_factory: pytest.TempPathFactory, fiftyone_database: Path) -> Place:
    root = tmp_path_factory.mktemp("mining")
    few = workplace.params.embed.model_copy(update={"views": 2})
    short = workplace.params.train.model_copy(update={"probe_epochs": 6, "probe_views": 2})
    embed(few, workplace.pulled, workplace.backbone, root / "features", root / "embed.json")
    probe(short, root / "features", root / "probe", root / "reports", prior=None)
    records = list(read_records(split_file(workplace.pulled, "train")))
    records[FLIPPED]["label"] = 1 - records[FLIPPED]["label"]
    inputs = MiningInputs(
        backbone=workplace.backbone,
        head=root / "probe",
        challenge=split_file(workplace.pulled, "challenge"),
        calibration=split_file(workplace.pulled, "calibration"),
        known=write_parquet(root / "train.parquet", records),
        features=root / "features",
        database=fiftyone_database,
        media=root / "media",
    )
    return Place(root, inputs)


def again(data: bytes) -> bytes:
    """The same picture, saved once more."""
    return encode(Image.open(io.BytesIO(data)).convert("RGB"), quality=60)


@pytest.fixture(scope="module")
def folder(place: Place, workplace: Workplace) -> Path:
    """New streets, and beside them copies of held-out and known pictures, one street twice, and a broken file."""
    folder = place.root / "folder"
    folder.mkdir()
    for seed in range(10):
        (folder / f"new-{seed}.jpg").write_bytes(encode(street(7000 + seed, cones=seed % 2 * 4)[0], quality=90))
    for split in ("challenge", "calibration", "train"):
        data = next(read_records(split_file(workplace.pulled, split)))["image"]["bytes"]
        (folder / f"copy-{split}.jpg").write_bytes(again(data))
    (folder / "twice-0.jpg").write_bytes(again((folder / "new-0.jpg").read_bytes()))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    return folder


def candidates(folder: Path, rejected: list[Any] | None = None) -> Iterator[Candidate]:
    return gather(folder=folder, max_pixels=1_000_000, min_side=32, rejected=rejected)


@pytest.fixture(scope="module")
def counts(place: Place, folder: Path) -> dict[str, Any]:
    return place.run("2026-01-02", candidates(folder))


def chosen(place: Place, name: str = "2026-01-02") -> set[str]:
    return {
        entry["name"].split("/")[-1] for entry in read_json(place.root / name / "manifest.json")["pictures"].values()
    }


def test_database_down_leaves_no_batch(place: Place, folder: Path, tmp_path: Path) -> None:
    inputs = replace(place.inputs, mongodb="mongodb://127.0.0.1:9")
    with pytest.raises(DatabaseDown):
        mine(PARAMS, candidates(folder), batch=tmp_path / "batch", date="", inputs=inputs)
    assert not (tmp_path / "batch").exists()


@pytest.mark.parametrize(("missing", "message"), [("head", "dvc repro probe"), ("challenge", "not a parquet file")])
def test_missing_input_leaves_no_batch(place: Place, folder: Path, missing: str, message: str, tmp_path: Path) -> None:
    inputs = replace(place.inputs, **{missing: tmp_path / "none"})
    with pytest.raises(DataError, match=message):
        mine(PARAMS, candidates(folder), batch=tmp_path / "batch", date="", inputs=inputs)
    assert not (tmp_path / "batch").exists()


def test_nothing_to_mine(place: Place) -> None:
    with pytest.raises(DataError, match="no picture"):
        place.run("nothing", iter(()))


def test_copies_are_refused_and_broken_files_reported(place: Place, folder: Path, counts: dict[str, Any]) -> None:
    rejected: list[Any] = []
    assert len(list(candidates(folder, rejected))) == counts["candidates"] == 14
    assert [one.name.split("/")[-1] for one in rejected] == ["broken.jpg"]
    assert counts["chosen"] == len(chosen(place)) == PARAMS.budget
    assert not {name for name in chosen(place) if name.startswith("copy-")}
    assert counts["refused"]["near_challenge"] >= 2
    assert counts["refused"]["known"] >= 1


def test_one_of_two_copies_at_most(place: Place, folder: Path, counts: dict[str, Any]) -> None:
    params = PARAMS.model_copy(update={"budget": 14, "duplicate_distance": 0.1, "challenge_distance": 0.0})
    place.run("all", candidates(folder), params)
    assert len(chosen(place, "all") & {"new-0.jpg", "twice-0.jpg"}) == 1


def test_file_and_index_choose_the_same_and_shards_say_what_they_cover(
    place: Place, folder: Path, counts: dict[str, Any]
) -> None:
    """Nothing of the embeddings' file is left; shards of five cut the fourteen candidates into three."""
    pytest.importorskip("faiss")
    same = SelectionParams(vectors="disk", near_duplicates="index")
    names = [("same", same), ("cut", same.model_copy(update={"shard_rows": 5}))]
    for name, selection in names:
        found = mine(
            PARAMS,
            candidates(folder),
            batch=place.root / name,
            date="",
            inputs=place.inputs,
            engine=MiningEngine(selection=selection),
        )
        assert found["refused"]["near_challenge"] == counts["refused"]["near_challenge"]
        assert found["chosen"] == PARAMS.budget
    assert chosen(place, "same") == chosen(place)
    assert not list(place.inputs.media.glob("rows-*"))
    covered = read_json(place.root / "cut" / "manifest.json")["counts"]["coverage"]
    assert covered["least"] <= covered["maximum"] <= covered["bound"]
    assert "coverage" not in counts


def test_wrong_label_ranks_at_the_top(place: Place, counts: dict[str, Any]) -> None:
    manifest = read_json(place.root / "2026-01-02" / "manifest.json")
    flipped = list(read_records(place.inputs.known))[FLIPPED]["sha256"]
    assert flipped in [entry["sha256"] for entry in manifest["doubtful_labels"][:3]]
    assert counts["brain"]["doubtful_labels"] >= 1
    # nothing is said of the challenge set's labels: nobody may tune on them
    challenge = {row["sha256"] for row in read_records(place.inputs.challenge)}
    assert not challenge & {entry["sha256"] for entry in manifest["doubtful_labels"]}


def test_complete_batch_is_returned_untouched(place: Place, folder: Path, counts: dict[str, Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place.root / "2026-01-02").iterdir()}
    (folder / "later.jpg").write_bytes(encode(street(99)[0]))
    try:
        assert place.run("2026-01-02", candidates(folder)) == counts
    finally:
        (folder / "later.jpg").unlink()
    assert before == {path: path.stat().st_mtime_ns for path in (place.root / "2026-01-02").iterdir()}


def test_half_a_batch_is_made_again_the_same(place: Place, folder: Path, counts: dict[str, Any]) -> None:
    """As after SIGKILL: files, and no manifest; samples and view are in the database already."""
    done = place.root / "2026-01-02"
    before = {path.name: path.read_bytes() for path in done.iterdir()}
    (done / MANIFEST).unlink()
    (done / SHEET).write_bytes(b"half")
    assert place.run("2026-01-02", candidates(folder)) == counts
    assert before == {path.name: path.read_bytes() for path in done.iterdir()}


def test_dataset_view_and_brain_runs(place: Place, counts: dict[str, Any]) -> None:
    fo = connect(place.inputs.database)
    dataset = open_dataset(fo, PARAMS.dataset)
    assert dataset.persistent
    view = dataset.load_saved_view("2026-01-02")
    assert len(view) == counts["chosen"]
    assert {sha256(Path(sample.filepath).read_bytes()) for sample in view} == set(view.values("sha256"))
    assert all(batch_tag("2026-01-02") in sample.tags for sample in view)
    assert {SIMILARITY, MAP} <= set(dataset.list_brain_runs())
    near = dataset.sort_by_similarity(view.first().id, k=3, brain_key=SIMILARITY)
    assert near.first().id == view.first().id
    with pytest.raises(DatabaseDown, match="refused"), database.plain_words():
        dataset._sample_collection.insert_one({"sha256": view.first().sha256})


def test_measures_are_those_of_the_brain(place: Place, counts: dict[str, Any]) -> None:
    """The comparison in docs/mining.md uses ours, since it needs them hundreds of times."""
    dataset = open_dataset(connect(place.inputs.database), PARAMS.dataset)
    first = read_json(place.root / "2026-01-02" / "manifest.json")["pictures"]
    known = chosen_from(dataset, [row["sha256"] for row in read_records(place.inputs.known)])
    space = Space.of(np.array(known.values("embedding"), dtype=np.float32))
    every = chosen_from(dataset.match({"part": "candidate"}), dataset.values("sha256"))
    keys, confidence, vectors = every.values(["sha256", "prediction.confidence", "embedding"])
    ours = dict(zip(keys, hardness(np.array(confidence)), strict=True))
    unique = dict(zip(keys, uniqueness(space.unit(np.array(vectors, dtype=np.float32))), strict=True))
    for key, facts in first.items():
        assert facts["hardness"] == pytest.approx(ours[key], abs=2e-5)
        assert facts["uniqueness"] == pytest.approx(unique[key], abs=2e-4)


READER = """
import sys
from pathlib import Path
from tasks.mining.database import connect
dataset = connect(Path(sys.argv[1])).load_dataset(sys.argv[2])
print(len(dataset), flush=True)
sys.stdin.readline()
dataset.reload()
print(len(dataset), dataset.has_saved_view(sys.argv[3]), flush=True)
"""


def test_a_second_process_may_have_it_open(place: Place, counts: dict[str, Any]) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", READER, str(place.inputs.database), PARAMS.dataset, "second"]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        before = int(reader.stdout.readline())
        one = row(8001, 1)
        extra = Candidate(one.data, one.name, one.sha256, one.place, "folder", "folder")
        place.run("second", iter([extra, replace(extra, name="the same again")]))
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline().split() == [str(before + 1), "True"]


def test_stored_and_fresh_features_agree(place: Place, workplace: Workplace) -> None:
    pictures = [(row["sha256"], row["image"]["bytes"]) for row in read_records(split_file(workplace.pulled, "pool"))]
    scorers = [ProbeScorer(workplace.backbone, place.inputs.head, store, 3) for store in (place.inputs.features, None)]
    stored, fresh = (scorer.score(pictures) for scorer in scorers)
    assert stored.keys == fresh.keys
    assert np.abs(stored.probability - fresh.probability).max() < 0.15
    assert np.corrcoef(stored.vectors[:].ravel(), fresh.vectors[:].ravel())[0, 1] > 0.99
    assert scorers[0]._scorer is None


def test_what_is_planted_in_the_inbox_is_refused_or_quarantined(place: Place, folder: Path) -> None:
    """The service's way in: copies of held-out pictures, new streets, and a file that a crash has torn."""
    inbox = place.root / "inbox"
    trace = {"reason": "uncertain", "probability": 0.5, "release": "r1"}
    names = {}
    for path in sorted(folder.glob("*.jpg")):
        if path.name not in ("broken.jpg", "copy-train.jpg", "twice-0.jpg"):
            save(inbox, HARD, path.read_bytes(), trace)
            names[sha256(path.read_bytes())] = path.name
    torn = next(digest for digest, name in names.items() if name == "new-9.jpg")
    next(one.path for one in entries(inbox) if one.sha256 == torn).with_suffix(".jpg").write_bytes(b"torn")
    rejected: list[Any] = []
    found = gather(inbox=inbox, max_pixels=1_000_000, min_side=32, rejected=rejected)
    counts = place.run("from-inbox", found, PARAMS.model_copy(update={"budget": 12}))
    picked = {names[digest] for digest in read_json(place.root / "from-inbox" / "manifest.json")["pictures"]}
    assert counts["refused"]["near_challenge"] >= 2
    assert len(rejected) == 1
    assert picked
    assert not {name for name in picked if not name.startswith("new-")}
    assert "new-9.jpg" not in picked
