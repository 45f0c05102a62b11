"""Headless Chromium for the tests of the page: `make test` installs it, see install_chromium.sh."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed, and could not be")
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
# Chromium's own line for each answer that is no success
EXPECTED = "Failed to load resource"
# text of less contrast than WCAG 2.2 AA asks for: 4.5 to 1, and 3 to 1 from 24 px on or 18.66 px in bold
FAINT = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.body.querySelectorAll("*")].filter((one) => own(one) && one.checkVisibility()).map((one) => {
    const { color, fontSize, fontWeight } = getComputedStyle(one);
    const [light, dark] = [luminance(numbers(color)), luminance(ground(one))].sort((a, b) => b - a);
    const large = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24);
    return [one.textContent.trim().slice(0, 40), (light + 0.05) / (dark + 0.05), large ? 3 : 4.5];
  }).filter(([, ratio, needed]) => ratio < needed);
}"""

# a picture that is dropped on the page, or pasted into it
DROP = """([type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
  const event = type === "drop" ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
  return document.body.dispatchEvent(event);
}"""


@contextmanager
def started() -> Iterator[Browser]:
    """Chromium; root may only run it without its sandbox."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextmanager
def tab(browser: Browser, **options: object) -> Iterator[Page]:
    """A page of a fresh profile; script that fails, or that the page's policy refuses, fails the test."""
    context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(15_000)
    page = context.new_page()
    try:
        with sound(page):
            yield page
    finally:
        context.close()


@contextmanager
def sound(page: Page) -> Iterator[None]:
    """Fail where script on the page does within the block."""
    faults: list[str] = []

    def noted(error: Error) -> None:
        faults.append(str(error))

    def printed(line: ConsoleMessage) -> None:
        if line.type == "error" and EXPECTED not in line.text:
            faults.append(line.text)

    page.on("pageerror", noted)
    page.on("console", printed)
    yield
    page.remove_listener("pageerror", noted)
    page.remove_listener("console", printed)
    assert faults == []
