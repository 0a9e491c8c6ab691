"""The dashboard on the whole system: simulated instruments, agents, broker, ingest, database, web server, Chromium."""

import os
import re
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.timeout(300)]
SOON_MS = 60_000
STALE_MS = 90_000
WATCH_DRAWINGS = """() => document.querySelector("[data-trend=plot]").addEventListener("drawn", (event) => {
  const { traces, data, fromMs, toMs } = event.detail;
  window.drawn = { names: traces.map((trace) => trace.name), times: data[0], columns: data.slice(1), fromMs, toMs };
})"""
AWAY = ("htmx:error", "ERR_CONNECTION", "WebSocket", "Failed to load resource", "Failed to fetch", "NetworkError")


def open_bioreactor(looker: Any, demo: Any, name: str = "STR-1", query: str = "") -> Page:
    page = looker.page
    page.goto(f"{demo.url}/app/")
    page.get_by_role("link", name=name).click()
    page.wait_for_url("**/app/bioreactors/*")
    if query:
        page.goto(page.url + query)
    page.evaluate(WATCH_DRAWINGS)
    page.wait_for_function("() => window.drawn && window.drawn.times.length > 10", timeout=SOON_MS)
    return page


def points(page: Page, name: str) -> list[tuple[int, float]]:
    """What the chart shows of a tag, without the places where the line breaks."""
    drawn = page.evaluate(
        """(name) => {
          const column = drawn.columns[drawn.names.indexOf(name) * (drawn.columns.length / drawn.names.length)];
          return drawn.times.map((t, i) => [t, column[i] ?? null]).filter(([, v]) => v !== null);
        }""",
        name,
    )
    return [(int(t), float(v)) for t, v in drawn]


def canvas(page: Page) -> str:
    return str(page.locator("[data-trend=plot] canvas").evaluate("(canvas) => canvas.toDataURL()"))


def tile(page: Page, name: str) -> Any:
    return page.locator(f'.tile[data-measure="{name}"]')


def test_wrong_password_is_told_in_place_and_the_right_one_lets_in(new_looker: Callable[..., Any], demo: Any) -> None:
    looker = new_looker()
    looker.expect("401")
    page, (email, password) = looker.page, demo.login
    page.goto(f"{demo.url}/app/bioreactors/x")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("address or the password is wrong")
    expect(page.get_by_label("E-mail")).to_have_value(email)
    page.goto(f"{demo.url}/dashboard")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/app/")
    expect(page.locator(".card")).to_have_count(3)
    page.locator(".account summary").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/app/login")


def test_login_works_without_scripts(new_looker: Callable[..., Any], demo: Any) -> None:
    page, (email, password) = new_looker(java_script_enabled=False).page, demo.login
    page.goto(f"{demo.url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".card")).to_have_count(3)
    page.get_by_role("link", name="STR-1").click()
    expect(tile(page, "pH").locator("[data-part=number]")).to_have_text(re.compile(r"^\d+\.\d+$"))


def test_fleet_shows_every_bioreactor_and_renews_itself(signed_in: Callable[..., Any], demo: Any) -> None:
    page = signed_in().page
    page.goto(f"{demo.url}/app/")
    expect(page.locator(".card")).to_have_count(3)
    expect(page.locator(".card-online")).to_have_count(3, timeout=SOON_MS)
    before = page.locator(".card .key-number").all_inner_texts()
    assert len(before) == 9
    page.wait_for_function(
        "(before) => [...document.querySelectorAll('.card .key-number')].some((n, i) => n.innerText !== before[i])",
        arg=before,
        timeout=SOON_MS,
    )


def test_value_changes_and_the_chart_moves(signed_in: Callable[..., Any], demo: Any) -> None:
    page = open_bioreactor(signed_in(), demo)
    number = tile(page, "DO").locator("[data-part=number]")
    expect(tile(page, "DO")).not_to_have_class(re.compile("is-(stale|absent)"))
    shown, picture, newest = number.inner_text(), canvas(page), points(page, "DO/PV")[-1]
    expect(number).not_to_have_text(shown, timeout=SOON_MS)
    page.wait_for_function("(at) => drawn.times[drawn.times.length - 1] > at + 3000", arg=newest[0])
    assert canvas(page) != picture
    assert points(page, "DO/PV")[-1][0] > newest[0]


def test_chart_begins_with_history_and_has_no_hole_at_the_seam(signed_in: Callable[..., Any], demo: Any) -> None:
    page = open_bioreactor(signed_in(), demo)
    opened_ms = page.evaluate("drawn.toMs")
    page.wait_for_function("(at) => drawn.times[drawn.times.length - 1] > at + 5000", arg=opened_ms)
    found = points(page, "pH/PV")
    assert found[0][0] < opened_ms - 10 * 60_000
    around = [t for t, _ in found if t > opened_ms - 15_000]
    assert max(after - before for before, after in pairwise(around)) < 4_000


def test_stopped_agent_makes_values_visibly_stale(signed_in: Callable[..., Any], demo: Any) -> None:
    page = open_bioreactor(signed_in(), demo)
    agents = [pid for name, pid in demo.pids.items() if name.startswith("agent")]
    assert agents
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    try:
        expect(tile(page, "pH")).to_have_class(re.compile("is-stale"), timeout=STALE_MS)
        expect(tile(page, "pH").locator("[data-part=flag]")).to_have_text(re.compile(r"stale \d+ s"))
        expect(page.locator("#reactor-status")).to_contain_text(re.compile("stale|offline"), timeout=STALE_MS)
    finally:
        for pid in agents:
            os.kill(pid, signal.SIGCONT)
    expect(tile(page, "pH")).not_to_have_class(re.compile("is-stale"), timeout=STALE_MS)


def test_server_that_dies_is_told_and_its_return_leaves_no_hole(signed_in: Callable[..., Any], demo: Any) -> None:
    looker = signed_in()
    looker.expect(*AWAY)
    page = open_bioreactor(looker, demo)
    died_ms = time.time() * 1000
    os.kill(demo.pids["web"], signal.SIGKILL)
    banner = page.locator("[data-cause=connection]")
    expect(banner).to_contain_text("Connection lost")
    expect(banner).to_contain_text(re.compile(r"Values are from \d\d:\d\d:\d\d"))
    expect(banner).to_have_count(0, timeout=STALE_MS)
    page.wait_for_function("(at) => drawn.times[drawn.times.length - 1] > at", arg=page.evaluate("drawn.toMs"))
    times = [t for t, _ in points(page, "pH/PV") if t > died_ms - 15_000]
    assert max(after - before for before, after in pairwise(times)) < 4_000


def test_server_that_falls_silent_leaves_no_number_that_looks_live(signed_in: Callable[..., Any], demo: Any) -> None:
    looker = signed_in()
    looker.expect(*AWAY)
    page = open_bioreactor(looker, demo)
    web = demo.pids["web"]
    os.kill(web, signal.SIGSTOP)
    try:
        expect(tile(page, "pH")).to_have_class(re.compile("is-stale"), timeout=STALE_MS)
        expect(tile(page, "pH").locator("[data-part=flag]")).to_have_text(re.compile(r"stale \d+ s"))
    finally:
        os.kill(web, signal.SIGCONT)
    expect(tile(page, "pH")).not_to_have_class(re.compile("is-stale"), timeout=STALE_MS)


def test_address_holds_what_is_on_view(signed_in: Callable[..., Any], demo: Any) -> None:
    looker = signed_in()
    page = open_bioreactor(looker, demo)
    page.get_by_role("link", name="1 h", exact=True).click()
    tile(page, "Agitation").get_by_role("button").click()
    tile(page, "DO").get_by_role("button").click()
    expect(page).to_have_url(re.compile(r"window=1h.*tags=.*Agitation/PV"))
    assert "DO/PV" not in page.url
    page.wait_for_function("() => drawn.names.includes('Agitation/PV') && drawn.toMs - drawn.fromMs === 3600000")
    names = page.evaluate("drawn.names")

    other = looker.context.new_page()
    other.goto(page.url)
    other.evaluate(WATCH_DRAWINGS)
    other.wait_for_function("() => window.drawn && drawn.times.length > 10")
    assert other.evaluate("drawn.names") == names
    assert other.evaluate("drawn.toMs - drawn.fromMs") == 3_600_000


def test_dragging_zooms_and_escape_goes_back_to_live(signed_in: Callable[..., Any], demo: Any) -> None:
    page = open_bioreactor(signed_in(), demo)
    box = page.locator("[data-trend=plot] .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=.*to="))
    assert 240_000 < page.evaluate("drawn.toMs - drawn.fromMs") < 300_000
    page.locator("[data-trend=plot]").press("Escape")
    expect(page).not_to_have_url(re.compile("from="))
    assert page.evaluate("drawn.toMs - drawn.fromMs") == 900_000


def test_chart_can_be_read_with_the_keyboard_and_as_a_table(signed_in: Callable[..., Any], demo: Any) -> None:
    page = open_bioreactor(signed_in(), demo)
    page.locator("[data-trend=plot]").focus()
    when = page.locator(".trend-when time")
    expect(when).to_contain_text("Now")
    page.keyboard.press("Shift+ArrowLeft")
    expect(when).not_to_contain_text("Now")
    expect(when).to_have_attribute("title", re.compile(r"UTC$"))
    page.get_by_text("Readings as a table").click()
    rows = page.locator("[data-trend=table] tbody tr")
    expect(rows).to_have_count(61)
    expect(rows.first.locator("td").first).to_have_text(re.compile(r"^\d+\.\d\d$"))


def test_nothing_is_wider_than_the_screen(signed_in: Callable[..., Any], demo: Any) -> None:
    for width in (360, 768, 2560):
        page = open_bioreactor(signed_in(width=width), demo)
        for address in (page.url, f"{demo.url}/app/", f"{demo.url}/app/organizations"):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, address)
