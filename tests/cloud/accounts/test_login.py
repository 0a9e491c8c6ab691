"""Login, both ways: what works, what is refused, and what the answers give away."""

from datetime import timedelta

import pytest
from lms_cloud.kernel.clock import FixedClock


async def test_login_gives_a_token_and_the_user(new_person) -> None:
    person = await new_person()
    answer = await person.client.post("/auth/login", json={"email": person.email, "password": person.password})
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "user"}
    assert (body["token_type"], body["expires_in"]) == ("bearer", 900)
    assert body["user"]["email"] == person.email
    assert body["user"]["organization_id"] == str(person.organization_id)
    assert set(body["user"]) == {"id", "email", "name", "is_active", "created_at", "updated_at", "organization_id"}


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_login_answers_the_same_under_both_addresses(new_person, new_client, prefix) -> None:
    person = await new_person()
    credentials = {"email": person.email.upper(), "password": person.password, "remember_me": True}
    answer = await new_client().post(f"{prefix}/auth/login", json=credentials)
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == str(person.user_id)


async def test_session_cookie_is_host_bound_secure_httponly_samesite(new_person, new_client) -> None:
    person = await new_person()
    answer = await new_client().post("/auth/login", json={"email": person.email, "password": person.password})
    name, _, rest = answer.headers["set-cookie"].partition("=")
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert name == "__Host-lms_session"
    assert attributes == {"httponly", "path=/", "samesite=lax", "secure"}


async def test_remembered_cookie_outlives_the_browser(new_person, new_client) -> None:
    person = await new_person()
    credentials = {"email": person.email, "password": person.password, "remember_me": True}
    answer = await new_client().post("/auth/login", json=credentials)
    assert "max-age=2592000" in answer.headers["set-cookie"].lower()


async def test_login_again_gives_a_new_id_and_the_old_one_is_worth_nothing(new_person, new_client) -> None:
    person = await new_person()
    old = dict(person.client.cookies)
    again = await person.client.post("/auth/login", json={"email": person.email, "password": person.password})
    assert again.status_code == 200
    assert dict(person.client.cookies) != old
    assert (await person.client.get("/api/v1/auth/me")).status_code == 200
    assert (await new_client(cookies=old).get("/api/v1/auth/me")).status_code == 401


async def test_logged_out_cookie_and_token_are_refused(new_person, new_client) -> None:
    person = await new_person()
    old = dict(person.client.cookies)
    assert (await person.client.post("/auth/logout", headers=person.csrf)).status_code == 204
    assert not person.client.cookies
    assert (await new_client(cookies=old).get("/api/v1/auth/me")).status_code == 401
    assert (await new_client().get("/api/v1/auth/me", headers=person.bearer)).status_code == 401


async def test_disabling_a_user_ends_every_session(new_person, new_client, app) -> None:
    person = await new_person()
    other = new_client()
    await other.post("/auth/login", json={"email": person.email, "password": person.password})
    await app.state.accounts.users.set_active(person.email, active=False)
    assert (await person.client.get("/api/v1/auth/me")).status_code == 401
    assert (await other.get("/api/v1/auth/me")).status_code == 401
    assert (await new_client().get("/api/v1/auth/me", headers=person.bearer)).status_code == 401
    refused = await new_client().post("/auth/login", json={"email": person.email, "password": person.password})
    assert refused.status_code == 401


async def test_idle_session_expires(new_person, clock: FixedClock) -> None:
    person = await new_person()
    clock.set(clock.now() + timedelta(hours=11, minutes=59))
    assert (await person.client.get("/api/v1/auth/me")).status_code == 200
    clock.set(clock.now() + timedelta(hours=12))
    assert (await person.client.get("/api/v1/auth/me")).status_code == 401


async def test_used_session_expires_at_last(new_person, clock: FixedClock) -> None:
    person = await new_person()
    for _ in range(5):
        clock.set(clock.now() + timedelta(hours=4, minutes=45))
        assert (await person.client.get("/api/v1/auth/me")).status_code == 200
    clock.set(clock.now() + timedelta(minutes=15))
    assert (await person.client.get("/api/v1/auth/me")).status_code == 401


async def test_access_token_expires(new_person, new_client, clock: FixedClock) -> None:
    person = await new_person()
    client = new_client()
    clock.set(clock.now() + timedelta(seconds=899))
    assert (await client.get("/api/v1/auth/me", headers=person.bearer)).status_code == 200
    clock.set(clock.now() + timedelta(seconds=1))
    assert (await client.get("/api/v1/auth/me", headers=person.bearer)).status_code == 401


async def test_unknown_user_and_wrong_password_get_the_same_answer(new_person, new_client, monkeypatch) -> None:
    person = await new_person()
    compared: list[bytes] = []
    import bcrypt

    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda password, stored: compared.append(stored) or real(password, stored))
    wrong = await new_client().post("/auth/login", json={"email": person.email, "password": "not the right one"})
    unknown = await new_client().post("/auth/login", json={"email": "bo@example.org", "password": "not the right one"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert set(wrong.headers) == set(unknown.headers)
    # Like timing: both were compared with a hash of the same cost (4 rounds in this test's hasher).
    assert [stored[:7] for stored in compared] == [b"$2b$04$", b"$2b$04$"]


async def test_brute_force_is_slowed_down_and_others_are_not_affected(new_person, new_client) -> None:
    ana = await new_person("ana@example.org")
    bo = await new_person("bo@example.org", organization=None)
    attacker = new_client(address="198.51.100.7")
    guesses = [await attacker.post("/auth/login", json={"email": ana.email, "password": "x"}) for _ in range(11)]
    assert [guess.status_code for guess in guesses] == [401] * 10 + [429]
    assert 1 <= int(guesses[-1].headers["Retry-After"]) <= 900
    right = {"email": ana.email, "password": ana.password}
    assert (await attacker.post("/auth/login", json=right)).status_code == 429
    # The owner of the account, elsewhere, and another account from the same address are let in.
    assert (await new_client().post("/auth/login", json=right)).status_code == 200
    assert (await attacker.post("/auth/login", json={"email": bo.email, "password": bo.password})).status_code == 200


async def test_successful_login_forgets_the_failed_ones(new_person, new_client) -> None:
    person = await new_person()
    client = new_client()
    for _ in range(3):
        for _ in range(6):
            await client.post("/auth/login", json={"email": person.email, "password": "x"})
        good = await client.post("/auth/login", json={"email": person.email, "password": person.password})
        assert good.status_code == 200


async def test_password_change_ends_the_other_sessions(new_person, new_client) -> None:
    person = await new_person()
    other = new_client()
    await other.post("/auth/login", json={"email": person.email, "password": person.password})
    change = {"old_password": person.password, "new_password": "a rather different one"}
    answer = await person.client.post("/auth/password", json=change, headers=person.csrf)
    assert answer.json() == {"sessions_ended": 1}
    assert (await other.get("/api/v1/auth/me")).status_code == 401
    assert (await person.client.get("/api/v1/auth/me")).status_code == 200
    again = await new_client().post("/auth/login", json={"email": person.email, "password": "a rather different one"})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"new_password": "Fermenta Works 2026"}, "new_password"),
        ({"new_password": "passwordpassword"}, "new_password"),
        ({"old_password": "not the present one"}, "old_password"),
    ],
)
async def test_bad_password_change_is_refused(new_person, change, field) -> None:
    person = await new_person(organization="Fermenta Works")
    body = {"old_password": person.password, "new_password": "a rather different one", **change}
    answer = await person.client.post("/auth/password", json=body, headers=person.csrf)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    again = await person.client.post("/auth/login", json={"email": person.email, "password": person.password})
    assert again.status_code == 200


async def test_plain_cookie_name_only_on_the_local_machine(settings, new_person) -> None:
    from lms_cloud.accounts.cookies import session_cookie_name
    from lms_cloud.kernel.settings import CloudSettings
    from pydantic import ValidationError

    local = settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})
    assert session_cookie_name(local) == "lms_session"
    assert session_cookie_name(settings) == "__Host-lms_session"
    with pytest.raises(ValidationError, match="must be https"):
        CloudSettings(database_url="postgresql://x", public_url="http://lms.example.org")
