"""The pages over HTTP: forms work without scripts, foreign requests change nothing, stored text stays text."""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://lms.example.org"}
NewPerson = Callable[..., Awaitable[Any]]


async def token_of(client: httpx.AsyncClient, address: str = "/app/login") -> str:
    page = await client.get(address)
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


async def test_login_form_leads_to_where_one_wanted_to_go(new_person: NewPerson, new_client: Any) -> None:
    person = await new_person()
    client = new_client()
    wanted = await client.get("/app/organizations")
    assert (wanted.status_code, wanted.headers["location"]) == (303, "/app/login?next=%2Fapp%2Forganizations")
    form = {"email": person.email, "password": person.password, "next": "/app/organizations"}
    answer = await client.post("/app/login", data={**form, "csrf_token": await token_of(client)}, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/app/organizations")
    assert "Fermenta" in (await client.get("/app/organizations")).text


async def test_wrong_password_and_unknown_user_look_the_same(new_person: NewPerson, new_client: Any) -> None:
    person = await new_person()
    bodies = []
    for email in (person.email, "nobody@example.org"):
        client = new_client()
        form = {"email": email, "password": "not the password", "csrf_token": await token_of(client)}
        answer = await client.post("/app/login", data=form, headers={**FORM, "HX-Request": "true"})
        assert answer.status_code == 401
        assert answer.text.lstrip().startswith("<form")
        bodies.append(re.sub(r'value="[^"]*"', "", answer.text))
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/app//evil.example", "/app/\\evil"])
async def test_login_never_leads_to_another_site(new_person: NewPerson, new_client: Any, address: str) -> None:
    person = await new_person()
    client = new_client()
    form = {"email": person.email, "password": person.password, "next": address, "csrf_token": await token_of(client)}
    answer = await client.post("/app/login", data=form, headers=FORM)
    assert answer.headers["location"] == "/app/"


async def test_login_without_form_token_is_refused(new_person: NewPerson, new_client: Any) -> None:
    person = await new_person()
    client = new_client()
    answer = await client.post("/app/login", data={"email": person.email, "password": person.password}, headers=FORM)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "reload the page" in answer.text


async def test_logout_needs_the_form_token_and_ends_the_session(new_person: NewPerson) -> None:
    client = (await new_person()).client
    assert (await client.post("/app/logout", headers=FORM)).status_code == 403
    assert (await client.get("/app/")).status_code == 200
    cookies = dict(client.cookies)
    answer = await client.post("/app/logout", data={"csrf_token": await token_of(client, "/app/")}, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/app/login")
    client.cookies.update(cookies)
    assert (await client.get("/app/")).headers["location"].startswith("/app/login")


async def test_registering_leads_to_the_first_organization(new_client: Any) -> None:
    client = new_client()
    form = {"email": "new@example.org", "password": "a sentence to remember", "name": "New"}
    answer = await client.post("/app/register", data={**form, "csrf_token": await token_of(client)}, headers=FORM)
    assert answer.headers["location"] == "/app/organizations"
    assert (await client.get("/app/")).headers["location"] == "/app/organizations"
    form = {"name": "Fermenta", "description": "", "csrf_token": await token_of(client, "/app/organizations")}
    answer = await client.post("/app/organizations", data=form, headers=FORM)
    assert answer.headers["location"] == "/app/"
    assert "No bioreactor yet" in (await client.get("/app/")).text


async def test_refused_registration_keeps_what_was_typed_but_the_password(new_client: Any) -> None:
    client = new_client()
    form = {"email": "new@example.org", "password": "short", "csrf_token": await token_of(client)}
    answer = await client.post("/app/register", data=form, headers=FORM)
    assert answer.status_code == 422
    assert "new@example.org" in answer.text
    assert "short" not in re.sub(r"[Tt]oo short", "", answer.text)


async def test_stored_names_stay_text(new_person: NewPerson) -> None:
    person = await new_person()
    name = '<img src=x hx-get="/evil" hx-trigger="load">'
    made = await person.client.post("/api/v1/bioreactors", json={"name": name, "wire_id": "R1"}, headers=person.bearer)
    assert made.status_code == 201, made.text
    for address in ("/app/", f"/app/bioreactors/{made.json()['id']}"):
        page = await person.client.get(address)
        assert page.status_code == 200, page.text
        assert name not in page.text
        assert "&lt;img src=x" in page.text


async def test_another_organizations_bioreactor_is_not_there(new_person: NewPerson) -> None:
    ana, ben = await new_person("ana@example.org"), await new_person("ben@example.org", organization="Other")
    made = await ana.client.post("/api/v1/bioreactors", json={"name": "STR-1"}, headers=ana.bearer)
    address = f"/app/bioreactors/{made.json()['id']}"
    for part in ("", "/status", "/tiles"):
        assert (await ana.client.get(address + part)).status_code == 200
        answer = await ben.client.get(address + part)
        assert answer.status_code == 404
        assert "STR-1" not in answer.text


@pytest.mark.parametrize("address", [f"/app/bioreactors/{UUID(int=7)}", "/app/bioreactors/x", "/app/nothing/here"])
async def test_wrong_address_is_a_page_that_says_so(new_person: NewPerson, address: str) -> None:
    answer = await (await new_person()).client.get(address)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert 'href="/app/"' in answer.text


@pytest.mark.parametrize(("address", "target"), [("/", "/app/"), ("/login", "/app/login"), ("/dashboard", "/app/")])
async def test_short_addresses_lead_to_pages(client: httpx.AsyncClient, address: str, target: str) -> None:
    answer = await client.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, target)


async def test_pages_carry_no_inline_script_or_style(new_person: NewPerson) -> None:
    client = (await new_person()).client
    for address in ("/app/", "/app/organizations", "/app/register"):
        text = (await client.get(address)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", text), address
