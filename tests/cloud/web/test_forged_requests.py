"""Forged requests: nothing changes because another page made the browser send it."""

import json

import pytest
from lms_cloud.accounts.form_tokens import form_token

ORIGIN = "https://lms.example.org"


@pytest.fixture
async def person(new_person):
    return await new_person()


async def names(person) -> list[str]:
    answer = await person.client.get("/api/v1/organizations", headers=person.bearer)
    return [each["name"] for each in answer.json()]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN},
        {"HX-Request": "true", "Origin": ORIGIN},
        {"X-CSRF-Token": "0" * 64, "Origin": ORIGIN},
        {"X-CSRF-Token": "ü", "Origin": ORIGIN},
    ],
)
async def test_cookie_without_the_token_changes_nothing(person, headers) -> None:
    raw = {name: value.encode() for name, value in headers.items()}
    answer = await person.client.post("/api/v1/organizations", json={"name": "Forged"}, headers=raw)
    assert answer.status_code == 403
    assert await names(person) == ["Fermenta"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://lms.example.org",
        "https://lms.example.org.evil.example",
        "https://lms.example.org:444",
        "",
    ],
)
async def test_foreign_origin_changes_nothing_even_with_the_token(person, origin) -> None:
    headers = {**person.csrf, "Origin": origin}
    answer = await person.client.post("/api/v1/organizations", json={"name": "Forged"}, headers=headers)
    assert answer.status_code == 403
    assert await names(person) == ["Fermenta"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_the_browser_says_of_the_site_counts_where_there_is_no_origin(person, site) -> None:
    headers = {"X-CSRF-Token": person.csrf["X-CSRF-Token"], "Sec-Fetch-Site": site}
    answer = await person.client.post("/api/v1/organizations", json={"name": "Forged"}, headers=headers)
    assert answer.status_code == 403


async def test_token_of_our_own_page_lets_the_request_pass(person) -> None:
    answer = await person.client.post("/api/v1/organizations", json={"name": "Second"}, headers=person.csrf)
    assert answer.status_code == 201


async def test_token_of_another_session_is_refused(person, new_person) -> None:
    other = await new_person("bo@example.org")
    answer = await person.client.post("/api/v1/organizations", json={"name": "Forged"}, headers=other.csrf)
    assert answer.status_code == 403


async def test_bearer_needs_no_token_but_no_foreign_origin_either(person, new_client) -> None:
    client = new_client()
    good = await client.post("/api/v1/organizations", json={"name": "By API"}, headers=person.bearer)
    assert good.status_code == 201
    foreign = {**person.bearer, "Origin": "https://evil.example"}
    assert (await client.post("/api/v1/organizations", json={"name": "X"}, headers=foreign)).status_code == 403


@pytest.mark.parametrize("form", ["data", "files", "content"])
async def test_login_form_without_its_token_is_refused(person, new_client, form) -> None:
    fields = {"email": person.email, "password": person.password}
    if form == "files":
        body = {"files": {name: (None, value) for name, value in fields.items()}}
    elif form == "content":
        body = {"content": json.dumps(fields).encode(), "headers": {"Content-Type": "text/plain"}}
    else:
        body = {"data": fields}
    body["headers"] = {**body.get("headers", {}), "Origin": ORIGIN}
    for address in ("/auth/login", "/app/login"):
        answer = await new_client().post(address, **body)
        assert answer.status_code == 403
        assert "session" not in answer.headers.get("set-cookie", "")


async def test_login_as_json_from_another_page_is_refused(person, new_client) -> None:
    credentials = {"email": person.email, "password": person.password}
    answer = await new_client().post("/auth/login", json=credentials, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_form_cookie_and_token_let_the_login_form_pass(person, new_client, settings) -> None:
    client = new_client(cookies={"__Host-lms_form": "seed"})
    data = {"email": person.email, "password": person.password, "csrf_token": form_token(settings, "seed")}
    answer = await client.post("/app/login", data=data, headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    assert "__Host-lms_session" in client.cookies


async def test_page_with_a_form_sets_the_cookie_of_its_token(client) -> None:
    page = await client.get("/app/login")
    name, _, rest = page.headers["set-cookie"].partition("=")
    assert name == "__Host-lms_form"
    assert {part.strip().lower() for part in rest.split(";")[1:]} == {"path=/", "httponly", "samesite=lax", "secure"}


async def test_every_unsafe_route_refuses_a_foreign_origin(app, person) -> None:
    document = app.openapi()
    for path, methods in document["paths"].items():
        for method in set(methods) - {"get", "head", "options"}:
            address = path.replace("{", "").replace("}", "")
            headers = {**person.csrf, "Origin": "https://evil.example"}
            answer = await person.client.request(method.upper(), address, json={}, headers=headers)
            assert answer.status_code == 403, f"{method} {path}"
