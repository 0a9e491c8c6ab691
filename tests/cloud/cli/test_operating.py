"""The command line: what operators do from nothing to a watched bioreactor, and what it says when it cannot."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LMS_")}


def lms_cloud(*arguments: str, told: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lms_cloud.cli", *arguments]
    return subprocess.run(
        command, env={**clean_environment(), **environment}, input=told, capture_output=True, text=True, check=False
    )


@pytest.fixture
def run(migrated_database) -> Run:
    """Runs a command as the database's owner."""
    return lambda *arguments, told="": lms_cloud(*arguments, told=told, LMS_DATABASE_URL=migrated_database.url)


def test_database_without_our_tables_is_told_with_a_remedy(database) -> None:
    commands = ("completeness", "storage stats", "storage retention show", "storage refresh", "ingest status")
    for command in (*commands, "dead-letters list --organization x"):
        answer = lms_cloud(*command.split(), LMS_DATABASE_URL=database.url)
        assert answer.returncode == 1, command
        assert "Run `lms-cloud migrate`" in answer.stderr, (command, answer.stderr)
        assert "Traceback" not in answer.stderr


def test_from_nothing_to_a_bioreactor_and_again(run) -> None:
    organization = ("organization", "create", "--name", "Fermenta", "--wire-id", "fermenta", "--exist-ok", "--json")
    agent = (
        "agent",
        "create",
        "--organization",
        "fermenta",
        "--name",
        "Pi",
        "--wire-id",
        "a-1",
        "--exist-ok",
        "--json",
    )
    bioreactor = (
        *("bioreactor", "create", "--organization", "fermenta", "--name", "STR-1", "--wire-id", "R1"),
        *("--agent", "a-1", "--volume-l", "10", "--exist-ok", "--json"),
    )
    first = [json.loads(run(*command).stdout) for command in (organization, agent, bioreactor)]
    again = [json.loads(run(*command).stdout) for command in (organization, agent, bioreactor)]
    assert again == first
    assert (first[2]["volume_l"], first[2]["agent_id"]) == (10, first[1]["id"])
    assert json.loads(run("organization", "list", "--json").stdout) == [first[0]]
    assert json.loads(run("bioreactor", "list", "--organization", "fermenta", "--json").stdout) == [first[2]]
    verified = json.loads(run("audit", "verify", "--json").stdout)
    assert verified == [{"organization": "fermenta", "events": 3, "first_bad": None, "reason": None}]


async def test_user_made_by_the_operator_logs_in(run, client) -> None:
    def make() -> list[str]:
        run("organization", "create", "--name", "Fermenta", "--wire-id", "fermenta")
        command = ("user", "create", "--email", "Ana@Example.org", "--organization", "fermenta", "--role", "owner")
        answers = [run(*command, "--exist-ok", told="two words a1b2c3\n") for _ in range(2)]
        assert [answer.returncode for answer in answers] == [0, 0], answers[1].stderr
        return [answer.stdout for answer in answers]

    said = await asyncio.to_thread(make)
    assert said[0].startswith("Created the user ana@example.org, owner of 'fermenta'")
    assert said[1].startswith("There is already the user ana@example.org")
    answer = await client.post("/auth/login", json={"email": "ana@example.org", "password": "two words a1b2c3"})
    assert answer.status_code == 200
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    me = (await client.get("/api/v1/auth/me", headers=bearer)).json()
    assert me["role"] == "owner"
    disabled = await asyncio.to_thread(run, "user", "disable", "--email", "ana@example.org")
    assert disabled.stdout == "Disabled ana@example.org.\n"
    assert (await client.get("/api/v1/auth/me", headers=bearer)).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "told", "said"),
    [
        (("user", "create", "--email", "ana@example.org"), "short\n", "15 to 256 characters"),
        (("user", "create", "--email", "nobody"), "two words a1b2c3\n", "an address such as ana@example.org"),
        (("agent", "list", "--organization", "nobody"), "", "There is no organization 'nobody'"),
        (("organization", "create", "--name", "X", "--wire-id", "a/b"), "", "wire_id: found 'a/b'"),
        (("database-user", "web", "--name", "w"), "short\n", "at least 16"),
        (("user", "disable", "--email", "nobody@example.org"), "", "There is no user"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, arguments, told, said) -> None:
    answer = run(*arguments, told=told)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert answer.stderr.startswith("lms-cloud: ")
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_altered_event_is_named_and_ends_with_1(run, migrated_database, tmp_path) -> None:
    run("organization", "create", "--name", "Fermenta", "--wire-id", "fermenta")
    run("agent", "create", "--organization", "fermenta", "--name", "Pi")
    anchor = tmp_path / "anchor.json"
    anchor.write_text(run("audit", "anchor").stdout)
    assert run("audit", "verify", "--anchor", str(anchor)).returncode == 0
    with psycopg.connect(migrated_database.superuser_url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("update events set actor = 'nobody' where sequence = 2")
    answer = run("audit", "verify")
    assert answer.returncode == 1
    assert "fermenta: event 2 was altered" in answer.stderr
    with psycopg.connect(migrated_database.superuser_url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute("delete from events where sequence = 2")
    assert run("audit", "verify").returncode == 0
    cut = run("audit", "verify", "--anchor", str(anchor))
    assert cut.returncode == 1
    assert "the chain ends at 1, the anchor names 2" in cut.stderr


def test_two_migrations_at_once_are_safe_and_a_third_does_nothing(database) -> None:
    environment = {**clean_environment(), "LMS_DATABASE_URL": database.url}
    command = [sys.executable, "-m", "lms_cloud.cli", "migrate", "--json"]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    done = [json.loads(out) for out, _ in answers]
    newest = done[0]["after"]
    assert sorted(each["before"] or "" for each in done) == ["", newest]
    third = lms_cloud("migrate", LMS_DATABASE_URL=database.url)
    assert third.stdout == f"Nothing to migrate: the database is at {newest}, the newest.\n"


def test_database_login_is_made_renewed_and_works(run, migrated_database, database) -> None:
    name = f"w_{migrated_database.name[-8:]}"
    made = run("database-user", "web", "--name", name, told="first-long-password\n")
    renewed = run("database-user", "web", "--name", name, told="second-long-password\n")
    assert (made.stdout, renewed.stdout) == (
        f"Created the database login '{name}' as a member of lms_web.\n",
        f"Renewed the database login '{name}' as a member of lms_web.\n",
    ), made.stderr + renewed.stderr
    where = psycopg.conninfo.conninfo_to_dict(migrated_database.url)
    with psycopg.connect(**{**where, "user": name, "password": "second-long-password"}) as connection:
        assert connection.execute("select count(*) from entities").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table t (i int)")
    with psycopg.connect(migrated_database.superuser_url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("drop role {}").format(psycopg.sql.Identifier(name)))


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({}, 2, "LMS_DATABASE_URL is missing"),
        ({"LMS_DATABASE_URL": "mysql://u:p@h/d"}, 2, "only PostgreSQL works"),
        ({"LMS_DATABASE_URL": "not an address"}, 2, "is not an address"),
        ({"LMS_DATABASE_URL": "postgresql://u:hidden-word@127.0.0.1:1/d"}, 1, "does not answer"),
    ],
)
def test_unusable_database_is_named_without_its_password(environment, code, said) -> None:
    answer = lms_cloud("migrate", "--wait-s", "0", **environment)
    assert (answer.returncode, said in answer.stderr) == (code, True), answer.stderr
    assert "hidden-word" not in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("secret", ["", "changeme", "example-example-example-example-example"])
def test_serve_does_not_start_with_a_bad_secret(secret) -> None:
    answer = lms_cloud("serve", LMS_DATABASE_URL="postgresql://u:p@127.0.0.1:1/d", LMS_SECRET_KEY=secret)
    assert answer.returncode == 2
    assert "LMS_SECRET_KEY" in answer.stderr
