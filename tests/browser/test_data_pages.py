"""The pages about the data itself, in both themes and at both widths, with trouble put into the demo's database."""

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.timeout(300)]
FOLDER = Path(__file__).resolve().parents[2] / "tests/artifacts"
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
MISSING = 1200
LETTER = """
insert into dead_letters
    (organization_id, kind, topic, payload, digest, reason, stream, number, bioreactor_id, node, birth)
select b.organization_id, %s, 'spBv1.0/demo/DDATA/agent-1/' || (b.properties ->> 'wire_id'),
    decode(repeat('00', 340), 'hex'), %s, %s, gen_random_uuid(), %s, b.id, 'agent-1', '{"stream": null, "metrics": []}'
from entities b where b.entity_type = 'bioreactor' order by b.name limit 1
"""


@pytest.fixture
def trouble(demo: Any) -> Iterator[psycopg.Connection]:
    """Two dead letters, and batches that the agents say they have logged beyond those that came."""
    with psycopg.connect(demo.told["database_url"], autocommit=True) as connection:
        for kind, reason, number in (
            ("poison", "a text holds the character U+0000, which PostgreSQL cannot keep", 41_213),
            ("conflict", "batch 52 of this stream is already committed with other content", 52),
        ):
            connection.execute(LETTER, [kind, uuid.uuid4().bytes, reason, number])
        connection.execute(
            "update streams set head = upper(committed) - 1 + %s where agent_id = (select agent_id from feeds limit 1)",
            [MISSING],
        )
        yield connection
        connection.execute("delete from dead_letters")
        connection.execute("update streams set head = null")


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_show_what_is_missing_and_what_could_not_be_stored(
    signed_in: Callable[..., Any], demo: Any, trouble: Any, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page: Page = signed_in(width=width, height=height, scheme=scheme).page
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.goto(f"{demo.url}/app/completeness")
    expect(page.get_by_text("batches missing").first).to_be_visible()
    assert_fits(page)
    page.screenshot(path=FOLDER / f"completeness-{scheme}-{size}.png")
    page.goto(f"{demo.url}/app/dead-letters")
    expect(page.locator(".letter")).to_have_count(2)
    assert_fits(page)
    page.screenshot(path=FOLDER / f"dead-letters-{scheme}-{size}.png")
    page.goto(f"{demo.url}/app/")
    expect(page.get_by_text("1 batch refused: an old log has come back")).to_be_visible()
    assert_fits(page)
    page.screenshot(path=FOLDER / f"fleet-with-alarm-{scheme}-{size}.png")


def test_buttons_of_a_letter_work_without_leaving_the_page(
    signed_in: Callable[..., Any], demo: Any, trouble: psycopg.Connection
) -> None:
    page: Page = signed_in().page
    page.goto(f"{demo.url}/app/dead-letters")
    refused = page.locator(".letter-conflict")
    refused.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".letter-dismissed")).to_have_count(1)
    poison = page.locator(".letter-poison")
    poison.get_by_role("button", name="Store it now").click()
    expect(poison).to_contain_text("Read again", timeout=30_000)
    assert page.url.endswith("/app/dead-letters")
    states = trouble.execute("select kind, state from dead_letters order by kind").fetchall()
    assert states == [("conflict", "dismissed"), ("poison", "open")]


def test_completeness_says_up_to_when_it_is_known_and_why_no_further(signed_in: Callable[..., Any], demo: Any) -> None:
    page: Page = signed_in(width=390, height=844).page
    with psycopg.connect(demo.told["database_url"], autocommit=True) as connection:
        connection.execute("update agent_status set online = false, since = now()")
        try:
            page.goto(f"{demo.url}/app/completeness")
            first = page.locator(".whole").first
            expect(first).to_contain_text(re.compile(r"complete until 20\d\d-\d\d-\d\d \d\d:\d\d UTC, then not known"))
            expect(first).to_contain_text(
                re.compile(r"Why: .+ is offline since .+; what it has logged after .+ UTC is")
            )
            assert_fits(page)
            page.screenshot(path=FOLDER / "completeness-unknown-phone.png")
        finally:
            connection.execute("update agent_status set online = true")
    page.reload()
    expect(page.locator(".whole-complete").first).to_be_visible()
    expect(page.get_by_text("Why:")).to_have_count(0)
