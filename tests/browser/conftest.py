"""Fixtures for tests in Chromium: a browser, pages that must stay without complaint, the whole system to look at."""

import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lms_cloud.web
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from support.demo import RunningDemo

ROOT = Path(__file__).resolve().parents[2]
STATIC = Path(lms_cloud.web.__file__).parent / "static"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
ZONE = "Europe/Berlin"
# Pictures for people show a cultivation of some hours; the tests need a quarter of an hour.
HISTORY_H = 6.0 if os.environ.get("LMS_WRITE_PICTURES") == "1" else 0.5


# Package scope, not session: playwright keeps an event loop running, in which no asynchronous test can run its own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"none of {', '.join(PROGRAMS)} is on PATH; on Debian: apt-get install chromium")
    # Chromium's own sandbox refuses to work for root.
    switches = [*SWITCHES, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=switches)
        yield launched
        launched.close()


@dataclass
class Looker:
    """A person at a screen; what the browser complains of is kept."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def expect(self, *parts: str) -> None:
        """Complaints that contain one of these are meant: the server is taken away."""
        self.expected = parts

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(part in text for part in self.expected)]


@pytest.fixture
def new_looker(browser: Browser) -> Iterator[Callable[..., Looker]]:
    """Opens windows; fails the test if a page wrote an error, threw, or broke the content security policy."""
    opened: list[Looker] = []

    def open_window(*, width: int = 1440, height: int = 900, scheme: str = "light", **more: Any) -> Looker:
        size: Any = {"width": width, "height": height}
        context = browser.new_context(
            viewport=size, color_scheme=scheme, locale="en-GB", timezone_id=ZONE, reduced_motion="reduce", **more
        )
        looker = Looker(context, context.new_page())
        looker.page.set_default_timeout(PATIENCE_MS)
        looker.page.on(
            "console",
            lambda said: looker.complaints.append(said.text) if said.type in {"error", "warning"} else None,
        )
        looker.page.on("pageerror", lambda error: looker.complaints.append(str(error)))
        opened.append(looker)
        return looker

    yield open_window
    for looker in opened:
        looker.context.close()
    assert [text for looker in opened for text in looker.unexpected()] == []


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="package")
def static_url() -> Iterator[str]:
    """An address under which web/static is served, for tests of the scripts alone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=STATIC)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def blank_page(looker: Looker, address: str) -> Page:
    """An empty page that belongs to `address`, so that it may load scripts and styles from there."""
    empty = '<!doctype html><link rel="icon" href="data:,"><body></body>'
    looker.page.route(f"{address}/blank", lambda route: route.fulfill(body=empty, content_type="text/html"))
    looker.page.goto(f"{address}/blank")
    return looker.page


@pytest.fixture
def blank(new_looker: Callable[..., Looker], static_url: str) -> Callable[..., Page]:
    """Opens an empty page of the static server: `blank(scheme="dark")`."""
    return lambda **window: blank_page(new_looker(**window), static_url)


@pytest.fixture
def script(new_looker: Callable[..., Looker], static_url: str) -> Callable[[str, str, Any], Any]:
    """Calls a function of a script: `script("series.js", "(m, a) => m.merge(a[0], a[1])", [a, b])`."""
    page = blank_page(new_looker(), static_url)

    def call(module: str, body: str, argument: Any = None) -> Any:
        return page.evaluate(f"async (argument) => ({body})(await import('/js/{module}'), argument)", argument)

    return call


@pytest.fixture(scope="package")
def demo(stand_folder: Path, browser: Browser) -> Iterator[RunningDemo]:
    """A demo in a folder of its own, with a little history; started only where there is a browser."""
    running = RunningDemo(stand_folder / "browser" / ".demo", history_h=HISTORY_H)
    yield running
    running.end()


@pytest.fixture(scope="package")
def signed_in_state(demo: RunningDemo, browser: Browser) -> Any:
    """The cookies of the demo's user after the login form, so that not every test has to fill it in."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    email, password = demo.login
    page.goto(f"{demo.url}/app/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/app/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def signed_in(new_looker: Callable[..., Looker], signed_in_state: Any) -> Callable[..., Looker]:
    """Opens windows of the demo's user: `signed_in(width=390, scheme="dark")`."""
    return lambda **window: new_looker(storage_state=signed_in_state, **window)
