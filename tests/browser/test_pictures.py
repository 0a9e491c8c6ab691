"""Pictures of the pages in both themes and at both widths, to be looked at.

They go to tests/artifacts; `LMS_WRITE_PICTURES=1` renews those in docs/pictures, which docs/dashboard.md and the
README show.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ("docs/pictures" if os.environ.get("LMS_WRITE_PICTURES") == "1" else "tests/artifacts")
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
ON_VIEW = "?window=6h&tags=DO/PV,DO/SP,Agitation/PV,BasePumped/PV"


def show_fleet(page: Page, demo: Any) -> None:
    page.goto(f"{demo.url}/app/")
    expect(page.locator(".card-online")).to_have_count(3, timeout=30_000)


def show_bioreactor(page: Page, demo: Any) -> None:
    show_fleet(page, demo)
    page.get_by_role("link", name="STR-1").click()
    page.wait_for_url("**/app/bioreactors/*")
    page.goto(page.url + ON_VIEW)
    expect(page.locator("[data-trend=plot] canvas")).to_be_visible()
    expect(page.locator("[data-trend=wait]")).to_have_text("")
    expect(page.locator(".trend-key b").first).to_have_text(re.compile(r"\d"))
    page.wait_for_timeout(1500)  # the tiles' lines are drawn by the second


SCREENS: dict[str, Callable[[Page, Any], None]] = {"fleet": show_fleet, "bioreactor": show_bioreactor}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", SCREENS)
def test_picture(signed_in: Callable[..., Any], demo: Any, screen: str, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    page = signed_in(width=width, height=height, scheme=scheme).page
    SCREENS[screen](page, demo)
    path = FOLDER / f"{screen}-{scheme}-{size}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    assert path.stat().st_size > 10_000


def test_picture_of_the_login(new_looker: Callable[..., Any], demo: Any) -> None:
    page = new_looker().page
    page.goto(f"{demo.url}/app/login")
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=FOLDER / "login-light-desktop.png")
