"""What every answer carries, what is too large, and what errors look like."""

import json

import httpx
import pytest
from lms_cloud.web.allowed import allowed
from lms_cloud.web.app import create_app

ADDRESSES = [
    "/api/v1/auth/me",
    "/app/login",
    "/app/",
    "/nowhere",
    "/static/favicon.svg",
    "/api/docs",
    "/api/openapi.json",
]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_every_answer_has_the_security_headers(client, address) -> None:
    headers = (await client.get(address)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["strict-transport-security"].startswith("max-age=63072000")
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split(";")}
    assert (
        policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["default-src"] == ["'none'"]
    )
    assert policy["script-src"] == policy["style-src"] == ["'self'"]
    assert "unsafe" not in headers["content-security-policy"]
    assert len(headers["x-request-id"]) >= 8
    assert "server" not in headers


async def test_pages_and_answers_are_not_stored(client) -> None:
    for address in ("/api/v1/auth/me", "/app/login", "/nowhere"):
        assert (await client.get(address)).headers["cache-control"] == "no-store"


async def test_versioned_static_files_are_kept_and_others_asked_for_again(client) -> None:
    assert "immutable" in (await client.get("/static/favicon.svg?v=1")).headers["cache-control"]
    assert (await client.get("/static/favicon.svg")).headers["cache-control"] == "no-cache"


async def test_no_hsts_without_https(settings) -> None:
    local = create_app(settings.model_copy(update={"public_url": "http://127.0.0.1:8080"}))
    transport = httpx.ASGITransport(local)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        assert "strict-transport-security" not in (await client.get("/nowhere")).headers
    await local.state.database.close()


async def test_oversized_body_is_refused(client, settings) -> None:
    body = b"[" + b" " * settings.max_request_bytes + b"]"
    told = await client.post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert told.status_code == 413

    async def untold():
        for _ in range(11):
            yield b" " * (settings.max_request_bytes // 10)

    sent = await client.post("/auth/login", content=untold(), headers={"Content-Type": "application/json"})
    assert sent.status_code == 413
    assert sent.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 50_000, "[" * 50_000 + "]" * 50_000])
async def test_deep_body_is_refused(client, body) -> None:
    answer = await client.post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("body", "field", "found"),
    [
        (r'{"email": "\ud800", "password": "x"}', "email", "\\ud800"),
        (r'{"email": "a@b.example", "password": "x", "\ud800": 1}', "body", "\\ud800"),
        ('{"email": 1e999, "password": "x"}', "email", "Infinity"),
        ('{"email": -1e999, "password": "x"}', "email", "-Infinity"),
        ('{"email": NaN, "password": "x"}', "email", "NaN"),
        ('{"email": ', "body", "(not shown)"),
    ],
)
async def test_what_no_answer_can_be_written_with_is_named_all_the_same(client, body, field, found) -> None:
    answer = await client.post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert (answer.json()["errors"][0]["field"], answer.json()["errors"][0]["found"]) == (field, found)


async def test_wrong_fields_are_named_with_what_was_found_and_what_is_allowed(new_person) -> None:
    person = await new_person()
    answer = await person.client.post("/api/v1/organizations", json={"name": "x" * 101}, headers=person.bearer)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "errors"} == set(problem)
    assert problem["errors"][0]["field"] == "name"
    assert problem["errors"][0]["found"].startswith("xxx")
    assert "100" in problem["errors"][0]["allowed"]


async def test_parameter_that_the_route_does_not_know_is_refused_by_name(new_person) -> None:
    person = await new_person()
    answer = await person.client.get("/api/v1/organizations?tag=pH", headers=person.bearer)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "tag"
    assert "no parameter of this name" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"type": "int_parsing", "msg": "Input should be …"}, "a whole number"),
        ({"type": "less_than_equal", "msg": "…", "ctx": {"le": 5000}}, "at most 5000"),
        ({"type": "value_error", "msg": "Value error, an e-mail address"}, "an e-mail address"),
    ],
)
def test_what_is_allowed_is_said_in_plain_words(error, words) -> None:
    assert allowed(error) == words


async def test_wrong_password_field_is_never_shown(client) -> None:
    answer = await client.post("/auth/login", json={"email": "a@b", "password": "hunter2" * 1000})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


async def test_crash_gives_a_problem_without_a_trace(app, client) -> None:
    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("the inner workings")

    answer = await client.get("/crash")
    assert answer.status_code == 500
    assert answer.json()["correlation_id"] == answer.headers["x-request-id"]
    assert "inner workings" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_trace_method_is_refused_and_foreign_cors_gets_no_header(client) -> None:
    assert (await client.request("TRACE", "/api/v1/auth/me")).status_code == 405
    answer = await client.options(
        "/api/v1/auth/me", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_given_request_id_is_kept_only_if_harmless(client) -> None:
    good = await client.get("/nowhere", headers={"X-Request-ID": "abcd-1234.x"})
    assert good.headers["x-request-id"] == "abcd-1234.x"
    bad = await client.get("/nowhere", headers={"X-Request-ID": "a\tb" * 10})
    assert "\t" not in bad.headers["x-request-id"]


async def test_openapi_and_its_page_need_nothing_from_elsewhere(client) -> None:
    document = (await client.get("/api/openapi.json")).json()
    for path in ("/auth/login", "/api/v1/auth/login", "/organizations", "/api/v1/organizations", "/api/v1/bioreactors"):
        assert path in document["paths"]
    page = (await client.get("/api/docs")).text
    assert "/api/v1/bioreactors" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


async def test_unknown_address_under_api_is_a_problem(client) -> None:
    answer = await client.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert json.loads(answer.text)["title"] == "Not Found"


async def test_page_without_login_leads_to_the_login_and_back(client) -> None:
    answer = await client.get("/app/bioreactors/1?window=60")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/app/login?next=%2Fapp%2Fbioreactors%2F1%3Fwindow%3D60"
    part = await client.get("/app/", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/app/login")


async def test_organizations_is_a_page_for_browsers_and_a_list_for_programs(new_person) -> None:
    person = await new_person()
    browser = await person.client.get("/organizations", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["location"]) == (303, "/app/organizations")
    program = await person.client.get("/organizations", headers=person.bearer)
    assert [each["name"] for each in program.json()] == ["Fermenta"]
    both = {**person.bearer, "Accept": "text/html"}
    made = await person.client.post("/organizations", json={"name": "Second"}, headers=both)
    assert made.status_code == 201


async def test_part_of_a_page_without_login_leads_to_the_login_and_back_to_the_page(client) -> None:
    page = "https://elsewhere.example/app/bioreactors/1?window=6h"
    answer = await client.get("/app/bioreactors/1/status", headers={"HX-Request": "true", "HX-Current-URL": page})
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/app/login?next=%2Fapp%2Fbioreactors%2F1%3Fwindow%3D6h"
    bare = await client.get("/app/bioreactors/1/status", headers={"HX-Request": "true", "HX-Current-URL": "http://["})
    assert bare.headers["hx-redirect"] == "/app/login"
