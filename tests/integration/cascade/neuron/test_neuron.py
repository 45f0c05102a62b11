"""A real dendrite asks the real axon of a miner process, which asks a real service; local keys, and no chain."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from cascade.client import Client
from tests.support import signed, tiny
from tests.support.bad_images import BAD, ODD
from tests.support.neuron import POOR, STRANGER, VALIDATOR, Running, mining
from tests.support.service import served

pytestmark = pytest.mark.integration
ORANGE, BLUE = (tiny.encoded(tiny.street(colour)) for colour in (tiny.ORANGE, tiny.BLUE))
SIDEWAYS = ODD["sideways.jpg"][0]
MAX_BYTES = 500_000
# by what reads the body: the JSON, FastAPI or the synapse
REFUSED = (400, 422, 500)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


# by name: what the validator sends, and the picture whose answer is expected; None: -1
SENT: dict[str, tuple[dict[str, Any], bytes | None]] = {
    "works": ({"image": text(ORANGE)}, ORANGE),
    "clear": ({"image": text(BLUE)}, BLUE),
    # the official validator's class since 2025
    "extended": ({"image": text(ORANGE), "name": "ExtendedImageSynapse"}, ORANGE),
    "data URL": ({"image": "data:image/jpeg;base64," + text(BLUE)}, BLUE),
    "lines": ({"image": base64.encodebytes(BLUE).decode()}, BLUE),
    "other alphabet": ({"image": base64.urlsafe_b64encode(BLUE).decode()}, BLUE),
    "PNG": ({"image": text(tiny.encoded(tiny.street(tiny.ORANGE), "PNG"))}, ORANGE),
    # upright it is orange above; as it lies, half of each
    "EXIF": ({"image": text(SIDEWAYS)}, SIDEWAYS),
    "labelled": ({"image": text(ORANGE), "testnet_label": 0}, ORANGE),
    "nothing": ({"image": ""}, None),
    "no field": ({}, None),
    "not base64": ({"image": "!" * 40}, None),
    "umlaut": ({"image": "straße"}, None),
    "too large": ({"image": text(bytes(MAX_BYTES + 1))}, None),
    # no time at all is left by the time the axon has checked the signature
    "no time": ({"image": text(ORANGE + b"\0"), "timeout": 1e-9}, None),
    "stranger": ({"image": text(ORANGE), "from": STRANGER}, None),
    "without permit": ({"image": text(ORANGE), "from": POOR}, None),
    **{f"bad: {name}": ({"image": text(data)}, None) for name, (data, *_) in BAD.items() if len(data) < MAX_BYTES},
    # a second dendrite of the validator, in use beside the first
    "organic, first": ({"image": text(BLUE), "dendrite": 1}, BLUE),
    "challenge between": ({"image": text(BLUE)}, BLUE),
    "organic": ({"image": text(BLUE), "dendrite": 1}, BLUE),
}


class Here(NamedTuple):
    """What all cases share."""

    miner: Running
    service: str
    answers: dict[str, dict[str, Any]]
    series: dict[str, float]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """A service, a miner, and what one dendrite got for all that is sent, one after the other."""
    folder = tmp_path_factory.mktemp("neuron")
    with (
        served(tiny.write_release(folder / "made"), folder, 18_080) as url,
        mining(folder, url, max_bytes=MAX_BYTES, model_url="https://models/ours") as miner,
    ):
        found = miner.ask([one for one, _ in SENT.values()], parallel=1)
        yield Here(miner, url, dict(zip(SENT, found, strict=True)), miner.series())


@pytest.mark.parametrize("name", SENT)
def test_what_a_validator_gets(here: Here, name: str) -> None:
    answer, (_, picture) = here.answers[name], SENT[name]
    if picture is None:
        assert answer["prediction"] == -1.0
        return
    with Client(here.service) as client:
        expected = client.predict([picture]).results[0].probability
    assert (answer["status"], answer["prediction"]) == (200, pytest.approx(expected, abs=0.02))


def test_the_pictures_are_told_apart(here: Here) -> None:
    assert here.answers["works"]["prediction"] > 0.5 > here.answers["clear"]["prediction"]
    assert here.answers["EXIF"]["prediction"] > 0.5


def test_further_fields_of_the_protocol(here: Here) -> None:
    assert here.answers["extended"]["model_url"] == "https://models/ours"
    assert here.answers["stranger"]["status"] == here.answers["without permit"]["status"] == 403
    assert "Unrecognized hotkey" in here.answers["stranger"]["message"]


Headers = dict[str, str]


def post(here: Here, body: Any, headers: Headers | None = None, path: str = "/ImageSynapse") -> httpx.Response:
    """Send bytes as they are to the axon."""
    given = {"Content-Type": "application/json", **(headers or {})}
    return httpx.post(f"http://127.0.0.1:{here.miner.port}{path}", content=body, headers=given, trust_env=False)


def sound(here: Here) -> Headers:
    return signed.headers(here.miner.hotkey)


def forged(here: Here) -> Headers:
    return signed.headers(here.miner.hotkey, STRANGER, hotkey=signed.address(VALIDATOR))


def old(here: Here) -> Headers:
    return signed.headers(here.miner.hotkey, nonce=time.time_ns() - 600 * 10**9)


SOUND = json.dumps({"image": text(BLUE)})


@pytest.mark.parametrize(
    ("make", "body", "path", "status"),
    [
        # without a dendrite's headers, and with a validator's hotkey under a stranger's signature
        (lambda _: {}, SOUND, "/ImageSynapse", 403),
        (forged, SOUND, "/ImageSynapse", 401),
        # recorded some time ago
        (old, SOUND, "/ImageSynapse", 401),
        (sound, SOUND, "/ImageSynapse", 200),
        # bodies that are no synapse
        (sound, b"", "/ImageSynapse", REFUSED),
        (sound, b"{", "/ImageSynapse", REFUSED),
        (sound, b"\xff\xfe", "/ImageSynapse", REFUSED),
        (sound, b"[]", "/ImageSynapse", REFUSED),
        (sound, json.dumps({"image": 7}), "/ImageSynapse", REFUSED),
        (sound, "[" * 100_000, "/ImageSynapse", REFUSED),
        # more than a picture of max_bytes needs
        (sound, b" " * 2_000_000, "/ImageSynapse", 413),
        # names of no synapse, and ones that bittensor lets anybody call
        (sound, SOUND, "/VideoSynapse", 404),
        (sound, SOUND, "/docs", 404),
        (lambda here: signed.headers(here.miner.hotkey, STRANGER), "{}", "/Synapse", 403),
    ],
)
def test_requests_that_no_dendrite_sends(
    here: Here, make: Any, body: Any, path: str, status: int | tuple[int, ...]
) -> None:
    assert post(here, body, make(here), path).status_code in (status if isinstance(status, tuple) else (status,))


def test_a_request_is_answered_once(here: Here) -> None:
    once = sound(here)
    assert [post(here, SOUND, once).status_code for _ in range(2)] == [200, 401]


def test_kinds_and_outcomes_are_counted(here: Here) -> None:
    series = here.series

    def challenges(kind: str, outcome: str) -> float:
        return series.get(f'streetvision_neuron_challenges_total{{kind="{kind}",outcome="{outcome}"}}', 0.0)

    # the first request of a second dendrite tells nothing yet
    assert challenges("organic", "answered") == 1.0
    # the one in between, and the one with a label
    assert challenges("synthetic", "answered") == 2.0
    assert challenges("unknown", "not_base64") == 2.0
    assert challenges("unknown", "not_an_image") == 1.0
    assert series['streetvision_neuron_testnet_total{right="false"}'] == 1.0
    assert series['streetvision_neuron_refused_total{reason="no_permit"}'] == 1.0
    assert series["streetvision_neuron_registered"] == 1.0
    assert series["streetvision_neuron_requests_in_progress"] == 0.0


def test_metrics_are_for_this_machine_alone(here: Here) -> None:
    listening = psutil.Process(here.miner.process.pid).net_connections("tcp")
    port = int(here.miner.metrics.split(":")[2].split("/")[0])
    here_on = [one.laddr for one in listening if one.status == psutil.CONN_LISTEN]
    assert [one.ip for one in here_on if one.port == port] == ["127.0.0.1"]


def test_nothing_failed_and_no_secret_is_in_the_log(here: Here) -> None:
    log = here.miner.log.read_text()
    assert "Traceback" not in log
    key = json.loads((here.miner.log.parent / "wallets/miner/hotkeys/hot").read_text())
    secrets = [value.removeprefix("0x") for name, value in key.items() if name.startswith(("private", "secret"))]
    assert secrets
    assert not [one for one in secrets if one and one in log]
    assert {one["outcome"] for one in here.miner.facts() if "outcome" in one} >= {"answered", "not_base64", "deadline"}
