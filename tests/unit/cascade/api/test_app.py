"""The application in this process: who is refused before reading, limits, readiness, and what the metrics count."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cascade.api.app import create_app
from cascade.api.auth import KEY_VARIABLE, ServiceError, check_host
from cascade.api.server import listen
from cascade.core.cascade import Cascade
from cascade.core.memory import MemoryLimitError
from cascade.deadline import DEADLINE_HEADER
from cascade.engines.base import EngineError
from cascade.release.store import Release
from tests.support import bad_images, tiny
from tests.support.clips import clip, damaged, without_ftyp

JPEG = tiny.encoded(tiny.street(tiny.ORANGE))
# clear for 4 s, then works for 8 s
DRIVE = [tiny.BLUE] * 16 + [tiny.ORANGE] * 32
TEXT = base64.b64encode(JPEG).decode()
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what must be refused
PARAMS = tiny.runtime_params(serve={"max_request_bytes": 5_000_000})


DISPOSITION = b'Content-Disposition: form-data; name="files"; filename="a.jpg"'


def multipart(body: bytes, boundary: str = "x", charset: str | None = None) -> dict[str, object]:
    """A request of which the body and its content type are given."""
    kind = f"multipart/form-data; boundary={boundary}" + (f"; charset={charset}" if charset else "")
    return {"content": body, "headers": {"Content-Type": kind}}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny.write_release(tmp_path_factory.mktemp("root"))


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def client(release: Release) -> Iterator[TestClient]:
    with TestClient(create_app(release, PARAMS)) as running:
        wait_until_ready(running)
        yield running


def wait_until_ready(client: TestClient) -> None:
    while client.get("/readyz").json()["status"] == "loading":
        pass


def reason(response: object) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["reason"]  # type: ignore[attr-defined]


def part(data: bytes = JPEG) -> tuple[str, tuple[str, bytes]]:
    return ("files", ("street.jpg", data))


@pytest.mark.parametrize(
    ("host", "key", "allowed"),
    [
        (EVERYWHERE, None, False),
        ("::", None, False),
        ("192.168.1.4", None, False),
        ("streets.example.org", None, False),
        # an empty variable is no key
        (EVERYWHERE, "", False),
        (EVERYWHERE, "secret", True),
        ("127.0.0.1", None, True),
        ("127.8.8.8", None, True),
        ("::1", None, True),
        ("localhost", None, True),
    ],
)
def test_the_outside_needs_a_key(host: str, key: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if key is not None:
        monkeypatch.setenv(KEY_VARIABLE, key)
    if allowed:
        check_host(host)
    else:
        with pytest.raises(ServiceError, match=KEY_VARIABLE):
            check_host(host)


def test_the_application_itself_refuses_the_outside_without_a_key(release: Release) -> None:
    with pytest.raises(ServiceError, match=KEY_VARIABLE):
        create_app(release, tiny.runtime_params(serve={"host": EVERYWHERE}))


@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 401), ("", 401), ("Bearer wrong", 401), ("secret", 401), ("Bearer secrét", 401), ("Bearer secret", 200)],
)
def test_a_key_is_asked_for_once_set(
    release: Release, header: str | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with TestClient(create_app(release, PARAMS)) as client:
        wait_until_ready(client)
        headers = {} if header is None else {"Authorization": header.encode()}
        response = client.post("/v1/predict", files=[part()], headers=headers)
    assert response.status_code == status
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"json": {}}, (400, "no_image")),
        ({"json": {"images": []}}, (400, "no_image")),
        ({"json": {"image": TEXT, "images": [TEXT]}}, (400, "no_image")),
        ({"json": {"picture": TEXT}}, (400, "no_image")),
        ({"json": [TEXT]}, (400, "no_image")),
        ({"json": {"image": 7}}, (400, "not_base64")),
        ({"json": {"images": TEXT}}, (400, "not_base64")),
        ({"json": {"image": "not base64!"}}, (400, "not_base64")),
        ({"json": {"image": "straße"}}, (400, "not_base64")),
        # not a multiple of four, padding in the middle, a data URL that is not base64
        ({"json": {"image": "AAAAA"}}, (400, "not_base64")),
        ({"json": {"image": "AA==AAAA"}}, (400, "not_base64")),
        ({"json": {"image": "data:image/jpeg," + TEXT}}, (400, "not_base64")),
        ({"json": {"image": "data:image/jpeg;base64"}}, (400, "not_base64")),
        # nothing at all is an empty image, as an empty file is
        ({"json": {"image": ""}}, (422, "empty")),
        ({"json": {"image": "data:image/jpeg;base64,"}}, (422, "empty")),
        ({"json": {"images": [TEXT] * 5}}, (413, "too_many_images")),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, (400, "not_json")),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, (400, "not_json")),
        ({"content": JPEG, "headers": {"Content-Type": "image/jpeg"}}, (415, "unsupported_media_type")),
        ({"content": b""}, (415, "unsupported_media_type")),
        ({"files": [("other", ("a.jpg", JPEG))]}, (400, "no_image")),
        ({"files": [part()] * 5}, (413, "too_many_images")),
        # beyond what the parser is given, and refused alike
        ({"files": [part()] * 9}, (413, "too_many_images")),
        ({"files": [part(JPEG + b"\0" * 2_000_000)]}, (413, "too_large")),
        (
            {"content": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            (400, "no_image"),
        ),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, (400, "not_multipart")),
        # an empty boundary, one that is not the body's, one that is longer than the format allows
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary="}}, (400, "not_multipart")),
        (multipart(b"--y\r\n", boundary="x"), (400, "not_multipart")),
        (multipart(b"--x\r\n", boundary="x" * 5000), (400, "not_multipart")),
        # headers of a part: too many, too long, without an end, of an unknown character set
        (multipart(b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n"), (400, "not_multipart")),
        (multipart(b"--x\r\nA: " + b"b" * 1_000_000), (400, "not_multipart")),
        (multipart(b"--x\r\n" + DISPOSITION), (400, "no_image")),
        (multipart(b"--x\r\n" + DISPOSITION + b"\r\n\r\n1\r\n--x--", charset="klingon"), (415, "not_an_image")),
        ({"data": {"files": "text"}, "files": [part()]}, (400, "no_image")),
    ],
)
def test_a_bad_request_is_told_why(client: TestClient, request_: dict[str, object], expected: tuple[int, str]) -> None:
    response = client.post("/v1/predict", **request_)
    assert reason(response) == expected
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("GET", "/v1/predict", (405, "method_not_allowed")), ("GET", "/nothing", (404, "not_found"))],
)
def test_other_routes_answer_json_too(client: TestClient, method: str, path: str, expected: tuple[int, str]) -> None:
    assert reason(client.request(method, path)) == expected


def test_a_stated_length_is_refused_before_a_byte_is_read(client: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "5000001"}
    assert reason(client.post("/v1/predict", content=b"x", headers=headers)) == (413, "too_large")


def test_an_unstated_length_is_refused_while_reading(client: TestClient) -> None:
    body = iter([b"x" * 1_000_000] * 6)
    response = client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert reason(response) == (413, "too_large")


@pytest.mark.parametrize("form", ["files", "json"])
def test_the_first_bad_image_is_named(client: TestClient, form: str) -> None:
    datas = [JPEG, JPEG, b"a letter", b""]
    sent = {
        "files": {"files": [part(data) for data in datas]},
        "json": {"json": {"images": [base64.b64encode(data).decode() for data in datas]}},
    }[form]
    error = client.post("/v1/predict", **sent).json()["error"]
    assert (error["reason"], error["index"]) == ("not_an_image", 2)


@pytest.mark.parametrize(
    ("sent", "labels"),
    [
        ({"files": [part()]}, ["roadwork"]),
        ({"files": [part(), part(tiny.encoded(tiny.street(tiny.BLUE)))]}, ["roadwork", "clear"]),
        ({"json": {"image": TEXT}}, ["roadwork"]),
        ({"json": {"images": [TEXT, TEXT]}}, ["roadwork", "roadwork"]),
    ],
)
def test_one_or_many_either_way(
    client: TestClient, release: Release, sent: dict[str, object], labels: list[str]
) -> None:
    document = client.post("/v1/predict", **sent).json()
    assert document["release"] == release.id
    assert [result["label"] for result in document["results"]] == labels
    (stage,) = document["results"][0]["stages"]
    assert set(stage) == {"stage", "probability", "exits", "verdict", "milliseconds", "batch", "detail", "skipped"}
    assert {"probability", "decided_by", "reason", "milliseconds", "release"} <= set(document["results"][0])


# a picture whose base64 holds both letters that the alphabet for addresses replaces, and that ends in padding
ODD_TEXT = next(
    text
    for data in (JPEG + b"\0" * count + b"\xfb\xff\xfe" for count in range(30))
    if {"+", "/"} <= set(text := base64.b64encode(data).decode()) and text.endswith("=")
)


@pytest.mark.parametrize(
    "text",
    [
        ODD_TEXT,
        "data:image/jpeg;base64," + ODD_TEXT,
        "data:;base64," + ODD_TEXT,
        "DATA:image/jpeg;charset=utf-8;BASE64," + ODD_TEXT,
        "\n ".join(ODD_TEXT[start : start + 76] for start in range(0, len(ODD_TEXT), 76)) + "\r\n",
        ODD_TEXT.replace("+", "-").replace("/", "_"),
        ODD_TEXT.rstrip("="),
        ODD_TEXT + "==",
        " data:image/jpeg;base64,\n" + ODD_TEXT.replace("+", "-").replace("/", "_").rstrip("="),
    ],
)
def test_base64_is_read_as_people_have_it(client: TestClient, text: str) -> None:
    plain = client.post("/v1/predict", files=[part(base64.b64decode(ODD_TEXT))]).json()["results"][0]
    (result,) = client.post("/v1/predict", json={"image": text}).json()["results"]
    assert result["probability"] == plain["probability"]
    assert result["label"] == "roadwork"


def test_what_was_odd_about_a_file_stands_in_its_answer(client: TestClient) -> None:
    datas = [bad_images.ODD["twelve_bit.png"][0], JPEG]
    results = client.post("/v1/predict", files=[part(data) for data in datas]).json()["results"]
    assert results[0]["notes"] == ["the file has 16 bits a value and uses 12: scaled by those"]
    assert results[1]["notes"] == []


def test_images_beyond_the_memory_of_one_group_keep_their_order(release: Release) -> None:
    params = tiny.runtime_params(serve={"max_pixels": 400 * 300 + 1})
    with TestClient(create_app(release, params)) as client:
        wait_until_ready(client)
        datas = [JPEG, tiny.encoded(tiny.street(tiny.BLUE)), JPEG]
        results = client.post("/v1/predict", files=[part(data) for data in datas]).json()["results"]
    assert [result["label"] for result in results] == ["roadwork", "clear", "roadwork"]


def test_not_ready_until_loaded(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    load = Cascade.load

    def slow(self: Cascade) -> Cascade:
        gate.wait(30)
        return load(self)

    monkeypatch.setattr(Cascade, "load", slow)
    with TestClient(create_app(release, PARAMS)) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").status_code == 503
        assert reason(client.post("/v1/predict", files=[part()])) == (503, "not_ready")
        gate.set()
        wait_until_ready(client)
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/predict", files=[part()]).status_code == 200


def test_a_model_that_does_not_load_is_never_ready(tmp_path: Path) -> None:
    release = tiny.write_release(tmp_path, gain=float("nan"))
    with TestClient(create_app(release, PARAMS)) as client:
        wait_until_ready(client)
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["status"] == "failed"
    assert response.json()["reason"].startswith("expected 1 finite logits")


def test_a_failure_is_told_to_those_with_the_key_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason may name files of the machine."""
    release = tiny.write_release(tmp_path, gain=float("nan"))
    monkeypatch.setenv(KEY_VARIABLE, "sécret")
    key = {"Authorization": "Bearer sécret".encode()}
    with TestClient(create_app(release, PARAMS)) as client:
        wait_until_ready(client)
        assert client.get("/readyz").json() == {"status": "failed", "release": release.id}
        assert "finite" in client.get("/readyz", headers=key).json()["reason"]
        refused = client.post("/v1/predict", files=[part()], headers=key)
    assert reason(refused) == (503, "not_ready")
    assert "finite" not in refused.text


@pytest.mark.parametrize(
    ("path", "without", "with_key"),
    [
        # probes of an orchestrator carry no key
        ("/healthz", 200, 200),
        ("/readyz", 200, 200),
        # figures and the interface are for those who have it
        ("/metrics", 401, 200),
        ("/openapi.json", 401, 200),
        ("/v1/release", 401, 200),
        ("/v1/releases", 401, 200),
        # the page's files are the same for every service
        ("/", 200, 200),
        ("/page/main.js", 200, 200),
        ("/nothing", 404, 404),
    ],
)
def test_what_is_open_once_a_key_is_set(
    release: Release, path: str, without: int, with_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "schlüssel")
    with TestClient(create_app(release, PARAMS)) as client:
        wait_until_ready(client)
        assert client.get(path).status_code == without
        assert client.get(path, headers={"Authorization": "Bearer schlüssel".encode()}).status_code == with_key


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_ask_for_the_head_alone(client: TestClient, path: str) -> None:
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")


def test_a_connection_does_not_wait_for_acknowledgements() -> None:
    """Without TCP_NODELAY each answer waits up to 40 ms."""

    async def accepted() -> int:
        listener = listen("127.0.0.1", 0)
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connection = transport.get_extra_info("socket")
                seen.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        server = await asyncio.get_running_loop().create_server(Protocol, sock=listener)
        async with server:
            with socket.create_connection(listener.getsockname()):
                return await asyncio.wait_for(seen, 5)

    assert asyncio.run(accepted()) == 1


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ("2.5", (200, None)),
        # later than the service's own
        ("60", (200, None)),
        ("inf", (200, None)),
        # no picture is answered in that time
        ("0.000001", (503, "deadline")),
        ("0", (400, "bad_deadline")),
        ("-1", (400, "bad_deadline")),
        ("nan", (400, "bad_deadline")),
        ("soon", (400, "bad_deadline")),
        ("", (400, "bad_deadline")),
    ],
)
def test_a_caller_may_ask_for_an_earlier_deadline(
    client: TestClient, seconds: str, expected: tuple[int, str | None]
) -> None:
    answer = client.post("/v1/predict", files=[part()], headers={DEADLINE_HEADER: seconds})
    assert (answer.status_code, answer.json().get("error", {}).get("reason")) == expected


def test_the_deadline_holds_and_the_loop_stays_free(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    answer = Cascade.predict

    def slow(self: Cascade, images: list[object], *_: object) -> object:
        gate.wait(30)
        return answer(self, images)  # type: ignore[arg-type]

    monkeypatch.setattr(Cascade, "predict", slow)
    with TestClient(create_app(release, tiny.runtime_params(serve={"deadline_seconds": 1.0}))) as client:
        wait_until_ready(client)
        assert reason(client.post("/v1/predict", files=[part()])) == (503, "deadline")
        start = time.monotonic()
        early = client.post("/v1/predict", files=[part()], headers={DEADLINE_HEADER: "0.2"})
        assert reason(early) == (503, "deadline")
        assert time.monotonic() - start < 0.9
        # a worker still hangs on that image, and the service goes on talking
        assert client.get("/healthz").status_code == 200
        gate.set()
        assert client.post("/v1/predict", files=[part()]).status_code == 200


def test_held_decoders_make_the_service_busy(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.decoding.pool.HELD_SECONDS", 0.0)
    with TestClient(create_app(release, PARAMS)) as client, ExitStack() as held:
        wait_until_ready(client)
        lane = client.app.state.service.decoders.lanes["pictures"]
        for _ in range(lane.size):
            held.enter_context(lane.process(float("inf")))
        assert client.get("/readyz").json()["status"] == "busy"
        assert client.get("/readyz").status_code == 503
        assert f'streetvision_decoders_busy{{lane="pictures"}} {lane.size}.0' in client.get("/metrics").text
        assert reason(client.post("/v1/predict", files=[part()])) == (503, "busy")
        held.close()
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/predict", files=[part()]).status_code == 200


def test_a_fault_of_ours_keeps_its_details_to_itself(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise EngineError("/secret/path went wrong")

    monkeypatch.setattr(Cascade, "predict", broken)
    response = client.post("/v1/predict", files=[part()])
    assert reason(response) == (500, "internal")
    assert "secret" not in response.text


def test_metrics_count_what_happened(client: TestClient, release: Release) -> None:
    client.post("/v1/predict", files=[part(), part()])
    client.post("/v1/predict", files=[part(b"")])
    lines = client.get("/metrics").text.splitlines()
    for expected in (
        'streetvision_requests_total{outcome="answered"} 1.0',
        'streetvision_requests_total{outcome="empty"} 1.0',
        'streetvision_cascade_exit_total{label="roadwork",stage="classifier"} 2.0',
        'streetvision_stage_duration_seconds_count{stage="classifier"} 2.0',
        "streetvision_confidence_count 2.0",
        'streetvision_model_info{device="cpu",engine="onnxruntime",precision="fp32",'
        f'release="{release.id}",stage="classifier"}} 1.0',
        'streetvision_stage_device_info{device="cpu",precision="fp32",stage="classifier"} 1.0',
        'streetvision_stage_off_gpu{stage="classifier"} 0.0',
        'streetvision_requests_total{outcome="internal"} 0.0',
        'streetvision_requests_queued{lane="clips"} 0.0',
        "streetvision_request_deadline_seconds 5.0",
        "streetvision_textfile_unreadable_files 0.0",
        "streetvision_ready 1.0",
        "streetvision_requests_in_progress 0.0",
        'streetvision_decoders_busy{lane="pictures"} 0.0',
        'streetvision_decoders_ended_total{lane="clips",reason="too_slow"} 0.0',
    ):
        assert expected in lines


def test_a_clip_gets_one_answer_with_its_timeline(client: TestClient, release: Release) -> None:
    response = client.post("/v1/clip", files=[("files", ("street.mp4", clip([tiny.ORANGE] * 8)))])
    assert response.status_code == 200
    document = response.json()
    assert (document["label"], document["release"], document["decided_by"]) == ("roadwork", release.id, "classifier")
    assert [moment["seconds"] for moment in document["timeline"]] == [0.0, 0.5, 1.0, 1.5]
    assert document["frame"]["stages"][0]["verdict"] == "roadwork"


@pytest.mark.parametrize(
    "data",
    [
        without_ftyp(clip(DRIVE, container="mov")),
        clip(DRIVE, container="avi", codec="mjpeg"),
        clip(DRIVE, container="mpegts", codec="libx264"),
        clip(DRIVE, container="webm", codec="libvpx", live=True),
        clip(DRIVE, codec="libx264", start=4 * 3600),
        clip(DRIVE, container="matroska", start=4 * 3600),
        damaged(clip(DRIVE, codec="libx264"), [3]),
    ],
    ids=["mov without ftyp", "avi", "ts", "webm without duration", "mp4 from 3600 s", "mkv from 3600 s", "damaged"],
)
def test_clips_from_the_field_are_answered_whatever_their_name(client: TestClient, data: bytes) -> None:
    response = client.post("/v1/clip", files=[("files", ("clip", data))])
    assert response.status_code == 200, response.text
    document = response.json()
    assert (document["label"], document["complete"]) == ("roadwork", True)
    assert document["frames"]["decoded"] == document["frames"]["expected"] == 24


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"files": [("files", ("a.mp4", b""))]}, (422, "empty")),
        ({"files": [("files", ("a.mp4", JPEG))]}, (415, "not_a_clip")),
        # a list of files, which FFmpeg would open
        ({"files": [("files", ("a.mp4", b"ffconcat version 1.0\nfile params.yaml\n"))]}, (415, "not_a_clip")),
        ({"files": [("files", ("a.mp4", clip([tiny.BLUE] * 4, container="flv", codec="flv")))]}, (415, "not_a_clip")),
        (
            {"files": [("files", ("a.mp4", clip([tiny.BLUE] * 4, codec="libx264").replace(b"avc1", b"zzzz")))]},
            (415, "unknown_codec"),
        ),
        ({"files": [("files", ("a.mp4", clip([tiny.ORANGE] * 2, apart=4 * 3600)))]}, (413, "too_long")),
        ({"files": [("files", ("a.mp4", b"x"))] * 2}, (413, "too_many_images")),
        ({"json": {"image": "AAAA"}}, (415, "unsupported_media_type")),
    ],
)
def test_a_bad_clip_is_refused(client: TestClient, sent: dict[str, object], expected: tuple[int, str]) -> None:
    assert reason(client.post("/v1/clip", **sent)) == expected


def test_the_same_picture_is_answered_from_the_cache(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny.runtime_params(cache={"folder": tmp_path / "cache"})
    monkeypatch.chdir(tmp_path)
    other = tiny.encoded(tiny.street(tiny.BLUE))
    with TestClient(create_app(release, params)) as running:
        wait_until_ready(running)
        running.post("/v1/predict", files=[part()])
        results = running.post("/v1/predict", files=[part(), part(other)]).json()["results"]
        assert [(one["cached"], one["label"]) for one in results] == [(True, "roadwork"), (False, "clear")]
        # the second of three is bad: its place is that in the request, not among those that were asked
        response = running.post("/v1/predict", files=[part(), part(b"rubbish"), part(other)])
        assert response.json()["error"]["index"] == 1


def test_no_stage_in_time_is_an_error_that_says_so(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = Cascade.predict
    monkeypatch.setattr(Cascade, "predict", lambda self, images, _: predict(self, images, 0.0))
    with TestClient(create_app(release, PARAMS)) as running:
        wait_until_ready(running)
        assert reason(running.post("/v1/predict", files=[part()])) == (503, "no_answer")


def test_a_profile_that_cannot_fit_is_an_error_before_serving(release: Release) -> None:
    with pytest.raises(MemoryLimitError, match=r"classifier needs .* raise memory\.ram_gib"):
        create_app(release, tiny.runtime_params(memory={"ram_gib": 0.0001}))
