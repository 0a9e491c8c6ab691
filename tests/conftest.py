"""Fixtures for every test area: a real PostgreSQL, a real broker, and free ports.

Session scope means once per xdist worker (a server starts in 0.6 s, a broker in 0.1 s); each test takes a database or
an account of its own from them. All servers listen on 127.0.0.1, on ports of their own, and die with the test process.

| fixture             | scope    | gives                                                                              |
|---------------------|----------|------------------------------------------------------------------------------------|
| `free_port`         | function | an int: a TCP port on 127.0.0.1 that nobody listens on                             |
| `stand_folder`      | session  | a Path that services may live under, also when the tests run as root               |
| `postgres`          | session  | `PostgresForTests`: `.create(template=None) -> Database`, `.drop(database)`,       |
|                     |          | `.superuser_url`, `.server` (port, pid). Do not kill this one: others use it       |
| `database`          | function | a fresh, empty `Database`, dropped afterwards: `.name`, `.url` (its owner: may     |
|                     |          | create roles, is no superuser, so row security holds), `.superuser_url`            |
| `migrated_template` | session  | a `Database` after `lms-cloud migrate`; make copies: `postgres.create(template)`   |
| `migrated_database` | function | a fresh copy of it (~50 ms); also `.web_url` and `.ingest_url`: login users that   |
|                     |          | are members of the group roles `lms_web` and `lms_ingest`                          |
| `broker`            | session  | `BrokerForTests`: `.host`, `.port`, `.url("feed")` (percent-encoded, with account),|
|                     |          | `.accounts[name].password`, `.password_file(name)` (0600), and                     |
|                     |          | `.add_agent(group, node) -> Account(name, password)`.                              |
|                     |          | Accounts there: cloud-ingest, cloud-web, feed, simulator, admin                    |
| `timescale`         | function | nothing; skips the test where the server has no TimescaleDB                        |
| `start_postgres`    | function | `start_postgres() -> PostgresServer` of the test's own: `.kill()` (SIGKILL),       |
|                     |          | `.start()` (same port, same data), `.stop()`, `.url(db)`, `.ensure_owner(...)`;    |
|                     |          | takes `folder` and server `settings`                                               |
| `own_database`      | function | `own_database(**settings) -> (PostgresServer, Database)`: a migrated database on   |
|                     |          | such a server, which the test may kill                                             |
| `start_broker`      | function | `start_broker(*accounts) -> Broker` of the test's own: `.kill()`, `.start()`,      |
|                     |          | `.stop()`, `.add(account)`, `.url(name)`; the accounts above are there already     |

Accounts are made with `lms_firmware_sim.stand.broker_access.agent(group, node, password)` and its neighbours.
Agents hear the STATE of any host; `cloud-ingest` may publish the STATE of any host id in these tests.
Tests marked `browser`, `system` or `fault` run on one worker, one after another (`--dist loadgroup`).
`LMS_TEST_PG_BIN=/usr/lib/postgresql/18/bin` runs all on another PostgreSQL (with TimescaleDB where that has it).
"""

import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from lms_firmware_sim.stand import broker_access, broker_programs, ports, postgres_programs, programs
from lms_firmware_sim.stand.broker import Broker
from lms_firmware_sim.stand.broker_access import Account
from lms_firmware_sim.stand.postgres import WITHOUT_DURABILITY, PostgresServer
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
OWNER = "lms_owner"

# Machines are shared and slow at times: no test fails for its pace. A failing example prints how to run it again.
settings.register_profile("lms", deadline=None, print_blob=True)
settings.load_profile("lms")


@dataclasses.dataclass(frozen=True)
class Database:
    """One database; URLs are `postgresql://…` with user and password."""

    name: str
    url: str
    superuser_url: str
    web_url: str = ""
    ingest_url: str = ""


class PostgresForTests:
    """A server from which tests take databases."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._owner_password = secrets.token_urlsafe(12)
        self._login_password = secrets.token_urlsafe(12)
        server.ensure_owner("scratch", name=OWNER, password=self._owner_password)
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            available = connection.execute(
                "select 1 from pg_available_extensions where name = 'timescaledb'"
            ).fetchone()
        self.timescale = available is not None

    @property
    def superuser_url(self) -> str:
        return self.server.url()

    def create(self, template: Database | None = None) -> Database:
        """A new database: empty, or a copy of `template` (to which nobody may be connected)."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            statement = sql.SQL("create database {} owner {} template {}").format(
                sql.Identifier(name),
                sql.Identifier(OWNER),
                sql.Identifier("template1" if template is None else template.name),
            )
            connection.execute(statement)
        if self.timescale and template is None:
            with psycopg.connect(self.server.url(name), autocommit=True) as connection:
                connection.execute("create extension timescaledb")
        created = Database(
            name, self.server.url(name, user=OWNER, password=self._owner_password), self.server.url(name)
        )
        if template is None or not template.web_url:
            return created
        return dataclasses.replace(
            created, web_url=self._login_url("web", name), ingest_url=self._login_url("ingest", name)
        )

    def drop(self, database: Database) -> None:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database.name)))

    def with_logins(self, database: Database) -> Database:
        """`database` with login users in the group roles that its migration made."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            for kind in ("web", "ingest"):
                connection.execute(
                    sql.SQL("create role {} login nosuperuser nobypassrls password {} in role {}").format(
                        sql.Identifier(f"test_{kind}"), sql.Literal(self._login_password), sql.Identifier(f"lms_{kind}")
                    )
                )
        return dataclasses.replace(
            database, web_url=self._login_url("web", database.name), ingest_url=self._login_url("ingest", database.name)
        )

    def _login_url(self, kind: str, database: str) -> str:
        return self.server.url(database, user=f"test_{kind}", password=self._login_password)


class BrokerForTests:
    """A broker on which tests get accounts."""

    def __init__(self, running: Broker, folder: Path) -> None:
        self.running = running
        self._folder = folder

    @property
    def host(self) -> str:
        return self.running.host

    @property
    def port(self) -> int:
        return self.running.port

    @property
    def accounts(self) -> dict[str, Account]:
        return self.running.accounts

    def url(self, account: str) -> str:
        return self.running.url(account)

    def password_file(self, account: str) -> Path:
        path = self._folder / f"{account}.password"
        path.touch(mode=0o600)
        path.write_text(self.accounts[account].password)
        return path

    def add_agent(self, group: str, node: str) -> Account:
        return self.running.add(broker_access.agent(group, node, secrets.token_urlsafe(12)))


def standing_accounts() -> list[Account]:
    """The accounts that every broker of the tests has."""
    made = (broker_access.admin, broker_access.cloud_web, broker_access.feed, broker_access.simulator)
    ingest = broker_access.cloud_ingest(secrets.token_urlsafe(12), host="+")
    return [ingest, *(account(secrets.token_urlsafe(12)) for account in made)]


@pytest.hookimpl(tryfirst=True)  # xdist's own hook reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what starts the whole system, or a browser, on one worker, one after another: two would starve each other."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("browser", "system", "fault")):
            item.add_marker(pytest.mark.xdist_group("whole-system"))


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@pytest.fixture(scope="session")
def stand_folder() -> Iterator[Path]:
    # Not pytest's tmp_path: as root, that one cannot be reached by the user whom PostgreSQL drops to.
    folder = Path(tempfile.mkdtemp(prefix="lms-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def without_jobs(server_programs: postgres_programs.PostgresPrograms) -> dict[str, str]:
    """No background workers of TimescaleDB: a database that one is connected to cannot be copied or dropped."""
    return {"timescaledb.max_background_workers": "0"} if "timescaledb" in server_programs.preloads() else {}


@pytest.fixture(scope="session")
def postgres(stand_folder: Path) -> Iterator[PostgresForTests]:
    server_programs = postgres_programs.for_tests(os.environ)
    server = PostgresServer(
        stand_folder / "postgres",
        server_programs,
        password=secrets.token_urlsafe(12),
        log_path=stand_folder / "postgres.log",
        settings={**WITHOUT_DURABILITY, **without_jobs(server_programs), "max_connections": "200"},
    )
    server.start()
    try:
        yield PostgresForTests(server)
    finally:
        server.stop()


@pytest.fixture
def timescale(postgres: PostgresForTests) -> None:
    if not postgres.timescale:
        pytest.skip("the server of the tests has no TimescaleDB: set LMS_TEST_PG_BIN to one that has")


@pytest.fixture
def database(postgres: PostgresForTests) -> Iterator[Database]:
    created = postgres.create()
    yield created
    postgres.drop(created)


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresForTests) -> Database:
    return migrated(postgres)


def migrated(postgres: PostgresForTests) -> Database:
    """A new database of a server after `lms-cloud migrate`, with login users."""
    created = postgres.create()
    command = [*programs.program("lms-cloud"), "migrate"]
    environment = {**programs.plain_environment(), "LMS_DATABASE_URL": created.url}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"lms-cloud migrate failed:\n{answer.stdout}{answer.stderr}"
    return postgres.with_logins(created)


@pytest.fixture
def migrated_database(postgres: PostgresForTests, migrated_template: Database) -> Iterator[Database]:
    created = postgres.create(migrated_template)
    yield created
    postgres.drop(created)


@pytest.fixture(scope="session")
def mosquitto() -> broker_programs.BrokerProgram:
    return broker_programs.find(ROOT / ".tools", lambda sentence: print(sentence, file=sys.stderr))


@pytest.fixture(scope="session")
def broker(
    stand_folder: Path, mosquitto: broker_programs.BrokerProgram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerForTests]:
    running = Broker(stand_folder / "broker", mosquitto, standing_accounts(), log_path=stand_folder / "broker.log")
    running.start()
    try:
        yield BrokerForTests(running, tmp_path_factory.mktemp("passwords"))
    finally:
        running.stop()


@pytest.fixture
def start_postgres(stand_folder: Path) -> Iterator[Callable[..., PostgresServer]]:
    started: list[PostgresServer] = []

    def start(folder: Path | None = None, settings: Mapping[str, str] = WITHOUT_DURABILITY) -> PostgresServer:
        folder = folder or stand_folder / f"postgres-{secrets.token_hex(4)}"
        server = PostgresServer(
            folder,
            postgres_programs.for_tests(os.environ),
            password=secrets.token_urlsafe(12),
            log_path=folder.with_suffix(".log"),
            settings=settings,
        )
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def own_database(start_postgres: Callable[..., PostgresServer]) -> Callable[..., tuple[PostgresServer, Database]]:
    def start(folder: Path | None = None, **settings: str) -> tuple[PostgresServer, Database]:
        jobs = without_jobs(postgres_programs.for_tests(os.environ))
        server = start_postgres(folder, {**WITHOUT_DURABILITY, **jobs, **settings})
        return server, migrated(PostgresForTests(server))

    return start


@pytest.fixture
def start_broker(stand_folder: Path, mosquitto: broker_programs.BrokerProgram) -> Iterator[Callable[..., Broker]]:
    started: list[Broker] = []

    def start(*accounts: Account) -> Broker:
        folder = stand_folder / f"broker-{secrets.token_hex(4)}"
        running = Broker(folder, mosquitto, [*standing_accounts(), *accounts], log_path=folder.with_suffix(".log"))
        running.start()
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()
