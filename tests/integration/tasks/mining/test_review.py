"""From the batch to the labels and to annotation servers, with a real FiftyOne on a real MongoDB."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from cascade.cli import app as streetvision
from tasks.common.files import sha256
from tasks.data.reviews import read_reviews
from tasks.data.schema import DataError
from tasks.mining.annotate import SETTINGS, AnnotationError, fetch, send
from tasks.mining.app import AppError, serving
from tasks.mining.database import connect
from tasks.mining.dataset import open_dataset, put, save_view
from tasks.mining.media import keep_media
from tasks.mining.samples import FiftyOneSample
from tasks.tools.review import import_tags
from tests.support import tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
BATCH = "2026-11-22"
SECRET = "swordfish"  # noqa: S105 - what must not be printed


@pytest.fixture
def view(fiftyone_database: Path, tmp_path: Path) -> Iterator[Any]:
    """Four mined pictures, of which the model takes two for roadwork, and one of another batch."""
    fo = connect(fiftyone_database)
    dataset = open_dataset(fo, "review")
    pictures = []
    for number, probability in enumerate((0.9, 0.8, 0.2, 0.1, 0.5)):
        data = tiny.encoded(tiny.street((number * 40, 60, 200), size=(64, 48)))
        keep_media(sha256(data), data, tmp_path)
        vector = np.ones(3, dtype=np.float32)
        pictures.append(FiftyOneSample(sha256(data), "candidate", "p", "inbox", "uncertain", probability, vector))
    put(fo, dataset, pictures, tmp_path)
    keys = [one.sha256 for one in pictures]
    save_view(dataset, BATCH, keys[:4])
    save_view(dataset, "2026-11-23", keys[4:])
    yield dataset.load_saved_view(BATCH)
    dataset.delete()


def tag(view: Any, *, above: float, tags: str) -> None:
    """Tag as a person does in the App, through another object of the same dataset."""
    from fiftyone import ViewField

    chosen = view.match(ViewField("prediction.confidence") > above)
    chosen.tag_samples(tags.split())


def test_tags_that_contradict_write_nothing(view: Any, tmp_path: Path) -> None:
    tag(view, above=0.85, tags="accept reject")
    with pytest.raises(DataError, match="keep one of them"):
        import_tags(view, BATCH, "ann", tmp_path / "reviews")
    assert not (tmp_path / "reviews").exists()


def test_no_tags_write_nothing(view: Any, tmp_path: Path) -> None:
    assert import_tags(view, BATCH, "ann", tmp_path / "reviews") == []
    assert not (tmp_path / "reviews").exists()


def test_tags_become_labels_and_stay_when_the_tags_are_lost(view: Any, tmp_path: Path) -> None:
    # 0.9 and 0.1 are the sure ones: one is roadwork, the other is not
    tag(view, above=0.85, tags="accept")
    import_tags(view, BATCH, "ann", tmp_path)
    first = read_reviews(tmp_path)
    assert sorted(one.label for one in first.values() if one.label is not None) == [0, 1]

    view._dataset.untag_samples("accept")
    tag(view, above=0.95, tags="accept")
    view.limit(1).tag_samples("reject")
    import_tags(view, BATCH, "bob", tmp_path)
    second = read_reviews(tmp_path)
    assert first.keys() <= second.keys()
    assert {one.reviewer for one in second.values()} == {"ann", "bob"}
    assert [one.decision for one in second.values()].count("reject") == 1


@pytest.mark.parametrize("backend", SETTINGS)
def test_an_annotation_server_must_be_named(view: Any, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FiftyOne would send the pictures to a public server instead."""
    for variable in SETTINGS[backend].values():
        monkeypatch.setenv(variable, "x")
    for variable in SETTINGS[backend].values():
        with monkeypatch.context() as patch:
            patch.delenv(variable)
            with pytest.raises(AnnotationError, match=f"set {variable}"):
                send(view, backend, BATCH)


def test_an_unknown_annotation_server_is_said(view: Any) -> None:
    with pytest.raises(AnnotationError, match="expected one of cvat, labelstudio"):
        send(view, "paper", BATCH)


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[str]]]:
    """A server that refuses everything, and the requests that it got."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            requests.append(f"{self.path} {body}")
            self.send_response(403)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "26")
            self.end_headers()
            self.wfile.write(b'{"detail": "not for you!"}')

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_cvat_is_asked_as_the_settings_say_and_its_refusal_is_one_error(
    view: Any, refusing: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, requests = refusing
    for name, value in (("URL", url), ("USERNAME", "ann"), ("PASSWORD", SECRET)):
        monkeypatch.setenv(f"FIFTYONE_CVAT_{name}", value)
    # the second time too: a run that failed does not keep its name
    for _ in range(2):
        with pytest.raises(AnnotationError, match=f"cvat at {url}: ") as caught:
            send(view, "cvat", BATCH)
        assert SECRET not in str(caught.value)
        assert caught.value.__suppress_context__
    assert any(SECRET in one for one in requests), "the credentials of the settings were not used"
    with pytest.raises(AnnotationError, match="not sent yet"):
        fetch(view._dataset, "cvat", BATCH)


def test_label_studio_says_what_it_lacks(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client is not among our dependencies; where somebody has installed it, nothing listens at that address."""
    monkeypatch.setenv("FIFTYONE_LABELSTUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FIFTYONE_LABELSTUDIO_API_KEY", SECRET)
    with pytest.raises(AnnotationError, match="labelstudio at http") as caught:
        send(view, "labelstudio", BATCH)
    assert SECRET not in str(caught.value)


def test_answers_of_an_annotation_tool_count_as_tags(view: Any, tmp_path: Path) -> None:
    """As `load_annotations` leaves them: a classification in a field of its own."""
    from fiftyone import Classification

    digests = view.values("sha256")
    words = dict(zip(digests, ["roadwork", "clear", "reject"], strict=False))
    answers = {digest: Classification(label=word) for digest, word in words.items()}
    view._dataset.set_values("review", answers, key_field="sha256")
    view.reload()
    import_tags(view, BATCH, "ann", tmp_path)
    found = {digest: one.label for digest, one in read_reviews(tmp_path).items()}
    assert found == dict(zip(digests, [1, 0, None], strict=False))


def test_the_app_answers_on_loopback_and_ends_with_the_block(view: Any, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AppError, match=f"port {port}: .*--port"), serving(port, tmp_path / "log"):
            pass
    with serving(port, tmp_path / "log") as url:
        assert httpx.get(f"{url}/datasets/review?view={BATCH}", trust_env=False).status_code == 200
        query = 'query Q($view: String) { dataset(name: "review", savedViewSlug: $view) { name viewName } }'
        body = {"query": query, "variables": {"view": BATCH}}
        answer = httpx.post(f"{url}/graphql", json=body, timeout=60, trust_env=False).json()
        assert answer["data"]["dataset"] == {"name": "review", "viewName": BATCH}
    with pytest.raises(httpx.TransportError):
        httpx.get(url, trust_env=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["review"], "no batch in data/hard_cases or data/mined"),
        (["review", "2026-01-01"], "no batch in"),
    ],
)
def test_without_a_batch_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(streetvision, arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
