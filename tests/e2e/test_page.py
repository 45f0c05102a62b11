"""The page in a real browser, before real services: one without a key, and one that asks for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from PIL import ImageDraw, ImageFont

from cascade.release.build import build_release
from cascade.release.store import CascadeSettings, Release, StageEntry
from tests.support import bad_images, tiny, tiny_detector
from tests.support.browser import DROP, FAINT, PHONE, needs_chromium, sound, started, tab
from tests.support.clips import clip
from tests.support.service import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FileChooser, Page

pytestmark = [pytest.mark.e2e, needs_chromium]
# names as the browser's file dialog gives them
Upload = dict[str, object]
ORANGE = tiny.encoded(tiny.street(tiny.ORANGE))
NASTY = '<img src=x onerror="window.attacked=1">.jpg'
KEYS = {"good": {}, "slow": {"requests_per_minute": 1}}
SCALE = 10
# all that the detectors want, so that OCR is not needed
CONES = tiny.encoded(tiny_detector.street_with(3, scale=SCALE), quality=95)


def upload(data: bytes, name: str = "street.jpg", kind: str = "image/jpeg") -> Upload:
    return {"name": name, "mimeType": kind, "buffer": data}


def works() -> bytes:
    """Two of the three cones that the detectors want, and a sign for OCR."""
    image = tiny_detector.street_with(2, scale=SCALE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 420, 600, 560), fill=(250, 250, 250))
    draw.text((60, 450), "ROAD WORK", font=ImageFont.load_default(80), fill=(0, 0, 0))
    return tiny.encoded(image, quality=95)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    root = tmp_path_factory.mktemp("root")
    on = [StageEntry(name=name, on=name != "vlm", why="") for name in ("classifier", "detectors", "vlm", "ocr")]
    (root / "cascade.json").write_text(CascadeSettings(stages=tuple(on)).model_dump_json())
    return build_release(
        tiny.write_classifier(root / "classifier"),
        tiny.write_metrics(root / "metrics.json"),
        root / "releases",
        revision={"data": "d" * 64, "code": "c" * 40},
        stages={"detectors": tiny_detector.write_detectors(root / "detectors")},
        settings=root / "cascade.json",
    )


@pytest.fixture(scope="module")
def url(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service without a key, with a report of the gate and a ledger."""
    folder = tmp_path_factory.mktemp("open")
    report = {"challenger": release.id, "champion": "a" * 12, "verdict": "better", "passes": True, "failures": []}
    figures = {
        "challenger": {"value": 0.9},
        "champion": {"value": 0.8},
        "difference": {"value": 0.1, "low": 0.05, "high": 0.15},
    }
    report |= {"when": "2026-11-27T05:42:21+00:00", "comparisons": [{"name": "mcc", **figures}]}
    (folder / release.id).mkdir()
    (folder / release.id / "gate.json").write_text(json.dumps(report))
    with served(release, folder, 18600, gate_reports=str(folder), ledger=None) as address:
        yield address


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Release]]:
    """A service with two keys, one of which has a limit."""
    folder = tmp_path_factory.mktemp("locked")
    keys = {name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), **limits} for name, limits in KEYS.items()}
    (folder / "keys.yaml").write_text(json.dumps(keys))
    release = tiny.write_release(folder)
    files = {"key_file": str(folder / "keys.yaml"), "quota": str(folder / "quota.sqlite")}
    with served(release, folder, 18700, gate_reports=None, ledger=None, **files) as address:
        yield address, release


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[Page]:
    with tab(browser) as page:
        yield page


@pytest.fixture
def page(shared: Page, url: str) -> Iterator[Page]:
    """The page, opened anew in a tab that the tests share."""
    shared.goto(url)
    shared.wait_for_selector("#release-panel h3")
    with sound(shared):
        yield shared
    shared.unroute_all()


@pytest.fixture
def stopped(browser: Browser, url: str) -> Iterator[Page]:
    """The page in a tab whose clock the test moves."""
    with tab(browser) as page:
        page.clock.install()
        page.goto(url)
        page.wait_for_selector("#release-panel h3")
        yield page


def ask(page: Page, file: Upload) -> str:
    """Hand a file in and give the text of the answer."""
    page.set_input_files("#file", file)
    page.wait_for_selector("#result .label")
    return page.inner_text("#result")


def refusal(page: Page) -> str:
    page.wait_for_selector("#error .lead")
    return page.inner_text("#error")


def test_a_picture_is_answered_with_its_path_and_times(page: Page, release: Release) -> None:
    text = ask(page, upload(ORANGE))
    assert text.startswith("Roadwork")
    row, *others = page.locator(".path li").all_inner_texts()
    assert row.startswith("Classifier")
    assert "roadwork" in row
    assert [other.split() for other in others] == [
        ["Detectors", "not", "needed"],
        ["VLM", "off"],
        ["OCR", "not", "needed"],
    ]
    assert " ms" in row.replace("\u00a0", " ")
    meter = page.get_by_role("meter")
    assert float(meter.get_attribute("aria-valuenow") or 0) > 0.88
    assert "roadwork from 88" in (meter.get_attribute("aria-valuetext") or "")
    assert page.locator("[aria-live=polite]").inner_text().startswith("Roadwork, probability")
    assert page.inner_text("#status") == f"ready, release {release.id}"


def test_boxes_and_words_lie_where_they_were_seen(page: Page) -> None:
    ask(page, upload(works()))
    assert [page.locator(f".mark.{kind}").count() for kind in ("first", "second", "word")] == [2, 2, 1]
    canvas, mark = page.locator("canvas").bounding_box(), page.locator(".mark.first").nth(0).bounding_box()
    assert canvas is not None
    assert mark is not None
    zoom = canvas["width"] / (tiny_detector.SIZE * SCALE)
    x1, y1, x2, y2 = (value * SCALE * zoom for value in tiny_detector.ANCHORS[0][1])
    expected = (canvas["x"] + x1, canvas["y"] + y1, x2 - x1, y2 - y1)
    assert (mark["x"], mark["y"], mark["width"], mark["height"]) == pytest.approx(expected, abs=2)
    assert "ROAD WORK" in page.inner_text("#seen")
    assert [row.split("\n")[0] for row in page.locator(".path li").all_inner_texts()] == [
        "Classifier", "Detectors", "VLM", "OCR",
    ]  # fmt: skip
    page.uncheck("#marks")
    assert not page.locator(".mark.first").nth(0).is_visible()


def test_a_clip_is_answered_with_its_timeline(page: Page) -> None:
    drive = clip([tiny.BLUE] * 8 + [tiny.ORANGE] * 16, codec="libx264")
    assert ask(page, upload(drive, "drive.mp4", "video/mp4")).startswith("Roadwork")
    assert page.locator("#timeline .point").count() > 10
    assert "6.0 s" in page.inner_text("#timeline")
    chosen = page.inner_text("#result h3")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    assert f"at {page.evaluate('document.querySelector(`video`).currentTime'):.1f} s" in chosen


@pytest.mark.parametrize(
    ("name", "title", "words"),
    [
        ("text.jpg", "neither a picture nor a clip", "not an image"),
        pytest.param("truncated.jpg", "damaged, animated or too small", "truncated", marks=pytest.mark.slow),
        pytest.param("animated.gif", "damaged, animated or too small", "animat", marks=pytest.mark.slow),
        pytest.param("bomb.png", "too large", "pixels", marks=pytest.mark.slow),
    ],
)
def test_a_refused_file_shows_the_words_of_the_service(page: Page, name: str, title: str, words: str) -> None:
    page.set_input_files("#file", upload(bad_images.BAD[name][0], name))
    shown = refusal(page)
    assert title in shown
    assert words in shown.lower()
    assert page.get_by_role("alert").filter(has_text=title).count() == 1
    assert page.get_by_role("button", name="Try again").count() == 0
    # the next file is answered, and the refusal is gone
    assert ask(page, upload(ORANGE)).startswith("Roadwork")
    assert page.locator("#error").inner_text() == ""


BUSY = {"error": {"reason": "busy", "message": "64 requests are waiting already"}}


@pytest.mark.parametrize(
    ("answer", "title", "button"),
    [
        # the service's own words, and when to come back
        ({"status": 503, "json": BUSY, "headers": {"Retry-After": "30"}}, "The service is busy", "Try again in 30 s"),
        # what a proxy says is no JSON
        pytest.param(
            {"status": 502, "body": "<h1>Bad Gateway</h1>"},
            "The service failed (502)",
            "Try again",
            marks=pytest.mark.slow,
        ),
        (None, "The service cannot be reached", "Try again"),
    ],
)
def test_what_may_go_well_later_can_be_asked_again(
    stopped: Page, answer: dict[str, object] | None, title: str, button: str
) -> None:
    page = stopped
    page.route("**/v1/predict", lambda route: route.fulfill(**answer) if answer else route.abort())  # type: ignore[arg-type]
    page.set_input_files("#file", upload(ORANGE))
    assert refusal(page).startswith(title)
    again = page.get_by_role("button", name="Try again")
    assert again.inner_text() == button
    page.unroute("**/v1/predict")
    page.clock.fast_forward(31_000)
    again.click()
    page.wait_for_selector("#result .label")


def test_an_answer_that_never_comes_is_given_up(stopped: Page) -> None:
    page = stopped
    page.route("**/v1/predict", lambda _: None)
    page.set_input_files("#file", upload(ORANGE))
    page.wait_for_selector("#result .busy")
    page.clock.fast_forward(61_000)
    assert refusal(page).startswith("No answer within 60 s")


def test_a_key_is_asked_for_and_used(browser: Browser, locked: tuple[str, Release]) -> None:
    address, release = locked
    with tab(browser) as page:
        page.goto(address)
        page.wait_for_selector("#locked", state="visible")
        assert release.id not in page.content()
        assert not page.locator("#open").is_visible()
        assert page.evaluate("document.activeElement.id") == "key"
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-error:has-text('does not know this key')")
        page.keyboard.type("slow")
        page.keyboard.press("Enter")
        page.wait_for_selector("#result .path")
        assert page.inner_text("#status") == f"ready, release {release.id}"
        assert "no report of the gate" in page.inner_text("#releases")
        # the tab keeps the key, and no address or cookie has it
        page.reload()
        assert ask(page, upload(ORANGE)).startswith("Roadwork")
        assert page.context.cookies() == []
        assert "slow" not in page.url
        page.set_input_files("#file", upload(ORANGE))
        assert refusal(page).startswith("The limit of this key is reached")
        assert page.get_by_role("button", name="Try again in").is_disabled()
        page.click("#forget")
        page.wait_for_selector("#locked", state="visible")
        assert page.evaluate("sessionStorage.length") == 0


def test_texts_of_files_and_answers_are_never_run(page: Page) -> None:
    ask(page, upload(ORANGE, NASTY))
    assert page.inner_text("#file-name") == NASTY
    box = {"detector": NASTY, "category": NASTY, "score": 0.5, "corners": [10, 10, 90, 90], "matched": False}
    detail = {"boxes": [box], "lines": [{"text": NASTY, "score": 0.5, "box": [5, 5, 50, 20]}], "summary": NASTY}
    stage = {
        "stage": NASTY,
        "verdict": "roadwork",
        "probability": 0.9,
        "exits": None,
        "milliseconds": 1,
        "detail": detail,
    }
    answer = {"label": NASTY, "decided_by": NASTY, "reason": NASTY, "notes": [NASTY], "stages": [stage]}
    body = {"release": NASTY, "results": [answer | {"probability": 0.9, "milliseconds": 1, "release": NASTY}]}
    page.route("**/v1/predict", lambda route: route.fulfill(json=body))
    assert NASTY in ask(page, upload(ORANGE))
    assert page.locator("main img").count() == 0
    assert page.evaluate("window.attacked") is None


def test_the_keyboard_is_enough(page: Page) -> None:
    choosers: list[FileChooser] = []

    def opened(chooser: FileChooser) -> None:
        choosers.append(chooser)

    # from now on the browser hands its dialog over; begun beside the key it came too late on a busy machine
    page.on("filechooser", opened)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    outline = page.evaluate("getComputedStyle(document.querySelector('label[for=file]')).outlineStyle")
    assert outline == "solid"
    for _ in range(20):
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if choosers:
            break
    choosers[0].set_files([upload(CONES)])  # type: ignore[list-item]
    page.remove_listener("filechooser", opened)
    page.wait_for_selector("#result .label")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert not page.is_checked("#marks")


@pytest.mark.parametrize("way", ["drop", pytest.param("paste", marks=pytest.mark.slow)])
def test_pictures_are_dropped_and_pasted(page: Page, way: str) -> None:
    is_left_to_the_browser = page.evaluate(DROP, [way, list(ORANGE)])
    assert not is_left_to_the_browser
    page.wait_for_selector("#result .label")
    assert page.inner_text("#file-name") == "dropped.jpg"


def test_the_gate_is_shown(page: Page, release: Release) -> None:
    text = page.inner_text("#releases")
    assert "The challenger is better, and was let in." in text
    assert f"challenger {release.id} (live), champion {'a' * 12}" in text
    assert "+0.100 (+0.050 to +0.150)" in text
    assert "0.910" in text  # of the release's own validation


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, url: str, scheme: str) -> None:
    with tab(browser, **PHONE, color_scheme=scheme) as page:
        page.goto(url)
        page.wait_for_selector("#result .path")
        assert page.get_by_text("Take a picture").is_visible()
        assert page.evaluate(FAINT) == []
        ask(page, upload(CONES))
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert page.evaluate(FAINT) == []
        for name in ("file", "camera"):
            box = page.locator(f"label[for={name}]").bounding_box()
            assert box is not None
            assert box["height"] >= 44
        page.set_input_files("#file", upload(bad_images.BAD["text.jpg"][0]))
        refusal(page)
        assert page.evaluate(FAINT) == []
