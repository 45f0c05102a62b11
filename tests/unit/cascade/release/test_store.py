"""Releases: what is refused, that the id follows the content, and that a kill leaves nothing half-built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.release.build import build_release
from cascade.release.store import OldReleaseError, ReleaseError, champion, load_release, set_champion
from tests.support import tiny

REVISION = {"data": "d" * 64, "code": "c" * 40}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    tiny.write_metrics(tmp_path / "metrics.json")
    return tiny.write_classifier(tmp_path / "classifier")


def build(classifier: Path, data: str = "d" * 64) -> Path:
    root = classifier.parent
    release = build_release(classifier, root / "metrics.json", root / "releases", revision={**REVISION, "data": data})
    return release.folder


def alter(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        assert old in data
        (folder / name).write_bytes(data.replace(old, new, 1))

    return change


def flip_last_byte(folder: Path) -> None:
    data = bytearray((folder / "classifier.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "classifier.onnx").write_bytes(data)


def link_outside(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    shutil.move(folder / "parity.json", outside)
    (folder / "parity.json").symlink_to(outside)


def name_a_file_outside(folder: Path) -> None:
    (folder.parent / "outside.json").write_text("{}")
    alter("manifest.json", b'"parity.json"', b'"../outside.json"')(folder)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
        (alter("manifest.json", b"{", b""), "JSON"),
        (lambda folder: (folder / "classifier.onnx").unlink(), "classifier.onnx missing"),
        (lambda folder: (folder / "extra.json").write_text("{}"), "extra.json not named"),
        (lambda folder: (folder / "evil.pkl").write_bytes(b"\x80\x04."), "evil.pkl not named"),
        (flip_last_byte, "classifier.onnx: altered"),
        (alter("classifier.json", b"0.88", b"0.51"), "classifier.json: altered"),
        (link_outside, "plain files"),
        (name_a_file_outside, "missing"),
        # the manifest itself: what it repeats must be what its files say
        (alter("manifest.json", b"0.88", b"0.51"), "differ"),
        (alter("manifest.json", b'"mcc": 0.91', b'"mcc": 0.99'), "differ"),
        (alter("manifest.json", b"dddd", b"eeee"), "id is not"),
        (alter("manifest.json", b'"revision"', b'"surprise"'), "surprise"),
        (lambda folder: folder.rename(folder.with_name("0" * 12)), "manifest.json"),
    ],
)
def test_an_altered_release_is_refused(classifier: Path, attack: Callable[[Path], object], message: str) -> None:
    folder = build(classifier)
    attack(folder)
    with pytest.raises(ReleaseError, match=message):
        load_release(folder)


def test_a_renamed_release_is_refused(classifier: Path) -> None:
    folder = build(classifier)
    with pytest.raises(ReleaseError, match="id is not"):
        load_release(folder.rename(folder.with_name("0" * 12)))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda root: shutil.rmtree(root / "classifier"), "no such folder"),
        (lambda root: (root / "classifier/contract.json").unlink(), "contract.json"),
        (lambda root: (root / "metrics.json").unlink(), "metrics.json"),
        (lambda root: (root / "classifier/model.pkl").write_bytes(b""), "model.pkl"),
        (lambda root: (root / "classifier/sub").mkdir(), "sub"),
        (lambda root: (root / "classifier/gone.json").symlink_to("nowhere"), "gone.json: its content is missing"),
        (lambda root: alter("classifier.json", b"0.88", b"0.3")(root / "classifier"), "exits.high"),
    ],
)
def test_what_cannot_become_a_release_is_refused(
    classifier: Path, breakage: Callable[[Path], object], message: str
) -> None:
    breakage(classifier.parent)
    with pytest.raises(ReleaseError, match=message):
        build(classifier)
    assert not [path for path in classifier.parent.glob("releases/*") if not path.name.startswith(".")]


def test_same_content_same_id_and_nothing_rewritten(classifier: Path) -> None:
    folder = build(classifier)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert build(classifier) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_other_content_or_data_gives_another_id(classifier: Path) -> None:
    ids = {build(classifier).name, build(classifier, data="e" * 64).name}
    tiny.write_classifier(classifier, gain=11)
    ids.add(build(classifier).name)
    (classifier.parent / "metrics.json").write_text(json.dumps({"mcc": 0.5}))
    ids.add(build(classifier).name)
    assert len(ids) == 4


def test_the_manifest_says_what_is_served(classifier: Path) -> None:
    manifest = load_release(build(classifier)).manifest
    assert (manifest.thresholds.high, manifest.thresholds.low) == (0.88, 0.12)
    assert manifest.gate == tiny.METRICS
    assert manifest.engine.kind == "onnxruntime"
    assert {"openvino", "onnxruntime", "python"} <= set(manifest.engine.versions)
    assert set(manifest.files) == {"classifier.onnx", "classifier.json", "contract.json", "parity.json", "gate.json"}
    assert manifest.revision == REVISION


def test_a_build_that_fails_leaves_nothing_and_a_killed_one_is_cleared(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    releases = classifier.parent / "releases"
    with monkeypatch.context() as patch:
        patch.setattr(os, "copy_file_range", fails)
        with pytest.raises(KeyboardInterrupt):
            build(classifier)
    assert list(releases.iterdir()) == []
    # of a process that is gone, of the version before, and of one that builds at this moment (ours)
    for name in (".new-abc-4194304-00", ".new-abc", f".new-abc-{os.getpid()}-00"):
        (releases / name).mkdir()
    folder = build(classifier)
    assert {path.name for path in releases.iterdir()} == {folder.name, f".new-abc-{os.getpid()}-00"}


@pytest.mark.parametrize(
    "damage",
    [
        flip_last_byte,
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "contract.json").unlink(),
        # a folder without anything in it
        lambda folder: [path.unlink() for path in folder.iterdir()],
    ],
)
def test_a_damaged_release_is_built_again(classifier: Path, damage: Callable[[Path], object]) -> None:
    folder = build(classifier)
    damage(folder)
    assert load_release(build(classifier)).folder == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_builders_of_one_release_do_not_disturb_each_other(classifier: Path) -> None:
    releases = classifier.parent / "releases"
    code = (
        "import sys; from pathlib import Path; from cascade.release.build import build_release as build;"
        "classifier, report, releases = map(Path, sys.argv[1:]);"
        "sys.stdin.readline();"
        f"[print(build(classifier, report, releases, revision={REVISION!r} | {{'data': str(i)}}).id) for i in range(8)]"
    )
    command = [sys.executable, "-c", code, str(classifier), str(classifier.parent / "metrics.json"), str(releases)]
    builders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ended = [(one.communicate("go\n"), one.returncode) for one in builders]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert len({output for (output, _), _ in ended}) == 1
    assert len(list(releases.iterdir())) == 8


def test_no_champion_is_none_and_a_dangling_one_an_error(classifier: Path) -> None:
    folder = build(classifier)
    assert champion(folder.parent) is None
    set_champion(folder.parent, folder.name)
    shutil.rmtree(folder)
    with pytest.raises(ReleaseError):
        champion(folder.parent)


def test_an_altered_release_does_not_become_champion(classifier: Path) -> None:
    good, bad = build(classifier), build(classifier, data="e" * 64)
    set_champion(good.parent, good.name)
    flip_last_byte(bad)
    with pytest.raises(ReleaseError):
        set_champion(good.parent, bad.name)
    current = champion(good.parent)
    assert current is not None
    assert current.id == good.name


def test_the_champion_switches_and_leaves_no_traces(classifier: Path) -> None:
    first, second = build(classifier), build(classifier, data="e" * 64)
    for folder in (first, second, first):
        set_champion(folder.parent, folder.name)
        assert (folder.parent / "champion").readlink() == Path(folder.name)
    assert {path.name for path in first.parent.iterdir()} == {first.name, second.name, "champion"}


STAGES = {"detectors": ["detectors.json", "one/model.onnx"], "vlm": ["vlm.json", "vocab.txt", "model.safetensors"]}


def more_stages(root: Path, *, size: int = 10) -> dict[str, Path]:
    for name, files in STAGES.items():
        for file in files:
            path = root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.encode() * size)
    return {name: root / name for name in STAGES}


def with_stages(classifier: Path, stages: dict[str, Path], on: tuple[str, ...] = ("classifier", "detectors")) -> Path:
    root = classifier.parent
    entries = [{"name": name, "on": name in on} for name in ("classifier", "detectors", "vlm", "ocr")]
    (root / "cascade.json").write_text(json.dumps({"stages": entries, "rule": {"weights": {"vlm": 0.5}}}))
    release = build_release(
        classifier,
        root / "metrics.json",
        root / "releases",
        revision=REVISION,
        stages=stages,
        settings=root / "cascade.json",
    )
    return release.folder


def test_a_release_of_several_stages(classifier: Path) -> None:
    release = load_release(with_stages(classifier, more_stages(classifier.parent)))
    assert {"detectors/one/model.onnx", "vlm/vocab.txt", "cascade.json"} < set(release.manifest.files)
    assert [entry.name for entry in release.settings.stages if entry.on] == ["classifier", "detectors"]
    assert release.settings.rule.weights == {"vlm": 0.5}
    # and one without says that stage 1 is all there is
    alone = load_release(build(classifier))
    assert [(entry.name, entry.on) for entry in alone.settings.stages] == [("classifier", True)]


def to_symlink(path: Path, kept: Path) -> None:
    path.symlink_to(kept)


def to_hard_link(path: Path, kept: Path) -> None:
    path.hardlink_to(kept)


def to_copy(path: Path, kept: Path) -> None:
    shutil.copy2(kept, path)


def into_cache(root: Path, link: Callable[[Path, Path], object]) -> list[Path]:
    """Do what DVC does with a file after its stage: read-only content in the cache, under a digest without a suffix."""
    kept = []
    for number, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        kept.append(root.parent / "dvc-cache" / f"{number:032d}")
        kept[-1].parent.mkdir(exist_ok=True)
        path.rename(kept[-1])
        kept[-1].chmod(0o444)
        link(path, kept[-1])
    return kept


@pytest.mark.parametrize("link", [to_symlink, to_hard_link, to_copy])
@pytest.mark.parametrize("folder_too", [False, True], ids=["real folder", "linked folder"])
def test_a_release_holds_copies_whatever_links_dvc_leaves(
    tmp_path: Path, link: Callable[[Path, Path], object], folder_too: bool
) -> None:
    work = tmp_path / "work"
    tiny.write_metrics(work / "metrics.json")
    classifier = tiny.write_classifier(work / "classifier")
    stages = more_stages(work)
    plain = with_stages(classifier, stages)
    expected = {path.relative_to(plain): path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    shutil.rmtree(work / "releases")
    (work / "cascade.json").unlink()
    kept = into_cache(work, link)
    if folder_too:
        (stages["detectors"] / "one").rename(tmp_path / "one")
        (stages["detectors"] / "one").symlink_to(tmp_path / "one")
    folder = with_stages(classifier, stages)
    assert folder.name == plain.name
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == expected
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert not path.is_symlink()
        assert path.stat().st_nlink == 1
        assert path.stat().st_mode & 0o200
    # neither an edit nor `dvc gc` reaches the release
    for path in kept:
        path.chmod(0o644)
        path.write_bytes(b"edited")
        path.unlink()
    load_release(folder)


def test_copies_where_the_kernel_has_no_copy_of_its_own(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    expected = build(classifier)
    shutil.rmtree(expected.parent)
    monkeypatch.setattr("os.copy_file_range", refused)
    assert load_release(build(classifier)).id == expected.name
    shutil.rmtree(expected.parent)
    monkeypatch.delattr("os.copy_file_range")
    assert load_release(build(classifier)).id == expected.name


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda folder: (folder / "vlm/model.safetensors").write_bytes(b"z"), "vlm/model.safetensors: altered"),
        (lambda folder: (folder / "vlm/evil.json").write_text("{}"), "vlm/evil.json not named"),
        (lambda folder: (folder / "detectors/one/model.onnx").unlink(), "detectors/one/model.onnx missing"),
        (lambda folder: (folder / "detectors/two").symlink_to("/etc"), "detectors/two not named"),
        (alter("cascade.json", b"0.5", b"0.9"), "cascade.json: altered"),
    ],
)
def test_an_altered_stage_is_refused(classifier: Path, attack: Callable[[Path], object], message: str) -> None:
    folder = with_stages(classifier, more_stages(classifier.parent))
    attack(folder)
    with pytest.raises(ReleaseError, match=message):
        load_release(folder)


@pytest.mark.parametrize(
    ("change", "on", "message"),
    [
        # switched on without its files
        (lambda stages: stages.pop("vlm"), ("classifier", "vlm"), "switches on vlm"),
        (lambda stages: (stages["vlm"] / "model.pt").write_bytes(b""), ("classifier",), "model.pt: a release holds"),
        (lambda stages: stages.update(vlm=Path("gone")), ("classifier",), "gone: no such folder"),
        # the cache was cleared under a link
        (
            lambda stages: (stages["vlm"] / "a.json").symlink_to("gone"),
            ("classifier",),
            "a.json: its content is missing",
        ),
        (lambda stages: (stages["vlm"] / "deep").symlink_to(stages["vlm"].parent), ("classifier",), "a folder above"),
        (lambda stages: os.mkfifo(stages["vlm"] / "pipe.json"), ("classifier",), "pipe.json: a release holds"),
        (lambda stages: stages.update(oracle=stages["vlm"]), ("classifier",), "oracle: no such stage"),
    ],
)
def test_stages_that_cannot_become_part_of_a_release(
    classifier: Path, change: Callable[[dict[str, Path]], object], on: tuple[str, ...], message: str
) -> None:
    stages = more_stages(classifier.parent)
    change(stages)
    with pytest.raises(ReleaseError, match=message):
        with_stages(classifier, stages, on)


def test_a_release_of_before_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Its keys had other names; read as they are, `unsure` would be taken for no test-time augmentation."""
    release = tiny.write_release(tmp_path)
    document = json.loads((release.folder / "manifest.json").read_text())
    del document["format"]
    (release.folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(OldReleaseError, match=r"format 1.*make run"):
        load_release(release.folder)
    assert release.folder.is_dir()
