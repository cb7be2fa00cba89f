"""Pages in a real browser: Chromium or Chrome of this machine, driven by Playwright.

Playwright is the maintained library for this that waits for elements by itself and reports a page's console, errors and
requests. It drives the browser that is installed; it downloads none.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Route, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next((found for name in NAMES if (found := shutil.which(name)) is not None), None)
# Without these Chromium asks its maker's servers at each start. Root can start it only without a sandbox.
QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *(("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),
)
SIZE = {"width": 1400, "height": 900}
PATIENCE = 120_000  # milliseconds that Playwright waits for an element
# A page whose layout needs more than one frame; by the Resize Observer specification (section 3.4.2) the sizes are
# delivered with the next one. Whether it happens depends on how busy the machine is.
NEXT_FRAME = "ResizeObserver loop completed with undelivered notifications."


WIDTH = "image => image.decode().then(() => image.naturalWidth)"  # of an `img`, when it has been loaded


@dataclass
class Watched:
    """A page, and what went wrong on it.

    Attributes:
        page: Playwright's page.
        screenshots: the folder of `screenshot`.
        errors: lines of the console that are errors, exceptions of scripts, and answers of status 400 and above.
        left_machine: addresses of other machines that the page asked for; such requests are refused.
    """

    page: Page
    screenshots: Path
    errors: list[str] = field(default_factory=list)
    left_machine: list[str] = field(default_factory=list)

    def screenshot(self, name: str) -> Path:
        """Keep a picture of what is visible."""
        file = self.screenshots / f"{name}.png"
        self.page.screenshot(path=file)
        return file


@contextmanager
def opened(screenshots: Path) -> Iterator[Watched]:
    """Open a browser with one empty page inside the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=list(QUIET))
        context = browser.new_context(viewport=SIZE)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        watched = Watched(context.new_page(), screenshots)
        context.route(lambda address: not is_local(address), lambda route: _refuse(route, watched))
        watched.page.on("console", lambda message: _record(message, watched))
        watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
        watched.page.on("response", lambda response: _record_status(response.status, response.request, watched))
        yield watched
        browser.close()


def opened_or_skipped(screenshots: Path) -> Iterator[Watched]:
    """Yield `opened` for a fixture, which skips its tests where no browser is installed."""
    if EXECUTABLE is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with opened(screenshots) as watched:
        yield watched


def is_local(address: str) -> bool:
    """Return whether an address is of this machine, or of the page itself."""
    parsed = urlparse(address)
    return parsed.scheme in ("data", "blob") or parsed.hostname in ("127.0.0.1", "localhost")


def _refuse(route: Route, watched: Watched) -> None:
    watched.left_machine.append(route.request.url)
    route.abort()


def _record(message: ConsoleMessage, watched: Watched) -> None:
    refused = any(address in message.location.get("url", "") for address in watched.left_machine)
    if message.type == "error" and not refused and NEXT_FRAME not in message.text:
        watched.errors.append(message.text)


def _record_status(status: int, request: Request, watched: Watched) -> None:
    if status >= 400:
        watched.errors.append(f"{status} {request.url}")
