"""Banners above the values: one for each cause, changed when it changes, gone when it is over. On the real pages.

What the server says of waiting rollups is written into its answers on their way: to have years of them wait, a test
would have to store years.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser.test_dashboard import open_bioreactor

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.timeout(300)]
LACKS = "The trend may lack readings."


class Saying:
    """What the server says of waiting rollups: of the live window, and of one that is zoomed into; seconds or None."""

    def __init__(self, page: Page) -> None:
        self.live: int | None = None
        self.zoomed: int | None = None
        self.sockets: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/live"), self._socket)
        page.route(re.compile("/history[?]"), self._history)

    def _socket(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        self.sockets.append(socket)

        def hear(text: str | bytes) -> None:
            message = json.loads(text)
            if message.get("reset"):
                message["rollups_behind_s"] = self.live
            socket.send(json.dumps(message))

        server.on_message(hear)

    def _history(self, route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "rollups_behind_s": self.zoomed})


@pytest.fixture
def opened(signed_in: Callable[..., Any], demo: Any) -> Callable[..., tuple[Page, Saying]]:
    def open_page(live: int | None = None) -> tuple[Page, Saying]:
        looker = signed_in()
        saying = Saying(looker.page)
        saying.live = live
        return open_bioreactor(looker, demo), saying

    return open_page


def zoom(page: Page) -> None:
    box = page.locator("[data-trend=plot] .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=.*to="))


def test_banner_says_that_a_trend_lacks_readings_changes_with_the_wait_and_goes(opened: Any) -> None:
    page, saying = opened(live=600)
    banner = page.locator("[data-cause=behind]")
    expect(banner).to_contain_text(LACKS)
    expect(banner).to_contain_text("have waited for 10 min to be summed up")
    saying.live = 3 * 3600
    page.get_by_role("link", name="1 h", exact=True).click()
    expect(banner).to_contain_text("have waited for 3 h to be summed up")
    expect(banner).to_have_count(1)
    saying.live = None
    page.get_by_role("link", name="15 min", exact=True).click()
    expect(banner).to_have_count(0)


def test_banner_is_of_what_is_on_view_when_zoomed_and_back(opened: Any) -> None:
    page, saying = opened(live=600)
    banner = page.locator("[data-cause=behind]")
    expect(banner).to_contain_text("10 min")
    zoom(page)
    expect(banner).to_have_count(0)  # every reading is there, as the banner said it would be
    page.locator("[data-trend=plot]").press("Escape")
    expect(banner).to_contain_text("10 min")
    saying.zoomed = 7200
    zoom(page)
    expect(banner).to_contain_text("2 h")
    page.locator("[data-trend=plot]").press("Escape")
    expect(banner).to_contain_text("10 min")


def test_refused_connection_stands_beside_other_causes_and_says_where_to_sign_in(opened: Any) -> None:
    page, saying = opened(live=600)
    expect(page.locator("[data-cause=behind]")).to_be_visible()
    saying.sockets[-1].close(code=1008, reason="The session has ended: log in again.")
    banner = page.locator("[data-cause=connection]")
    expect(banner).to_contain_text("The live connection was refused.")
    link = banner.get_by_role("link", name="Sign in again")
    expect(link).to_have_attribute("href", re.compile(r"^/app/login\?next=%2Fapp%2Fbioreactors%2F"))
    expect(page.locator("[data-notices] .notice")).to_have_count(2)


def test_what_the_server_refuses_is_told_until_the_connection_is_new(opened: Any) -> None:
    page, saying = opened()
    error = {"type": "error", "title": "Too many bioreactors", "detail": "One connection can watch 50 at once."}
    for _ in range(2):
        saying.sockets[-1].send(json.dumps(error))
    banner = page.locator("[data-cause=live]")
    expect(banner).to_have_text(re.compile("Too many bioreactors.*50 at once", re.DOTALL))
    expect(banner).to_have_count(1)
    saying.sockets[-1].close(code=1013, reason="once more")
    expect(banner).to_have_count(0)
    expect(page.locator("[data-cause=connection]")).to_have_count(0)


def test_fleet_page_says_that_its_values_are_old_until_the_server_answers_again(
    signed_in: Callable[..., Any], demo: Any
) -> None:
    looker = signed_in()
    looker.expect("503", "htmx")
    page = looker.page

    def refuse(route: Route) -> None:
        if route.request.headers.get("hx-request") == "true":
            route.fulfill(status=503, body="")
        else:
            route.continue_()

    page.goto(f"{demo.url}/app/")
    expect(page.locator(".card")).to_have_count(3)
    expect(page.locator("[data-notices] .notice")).to_have_count(0)
    page.route("**/app/**", refuse)
    banner = page.locator("[data-cause=connection]")
    expect(banner).to_contain_text("Connection lost")
    expect(banner).to_contain_text(re.compile(r"The server answered 503\. Values are from \d\d:\d\d:\d\d"))
    expect(banner).to_have_count(1)
    page.unroute("**/app/**")
    expect(banner).to_have_count(0)
