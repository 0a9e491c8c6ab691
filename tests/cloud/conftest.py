"""Fixtures for the cloud's tests: an application on a fresh database, and people who use it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.kernel.clock import FixedClock
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.web.app import create_app

PUBLIC_URL = "https://lms.example.org"


@dataclass
class Person:
    """A user with a browser of his own.

    Attributes:
        client: keeps cookies; `https://lms.example.org` is the base address.
        bearer: the headers of an API client.
        csrf: the headers that a page of ours would add.
    """

    client: httpx.AsyncClient
    email: str
    password: str
    user_id: UUID
    organization_id: UUID | None
    bearer: dict[str, str]
    csrf: dict[str, str]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))


@pytest.fixture
def settings(migrated_database: Any) -> CloudSettings:
    return CloudSettings(
        database_url=migrated_database.web_url,
        database_pool_size=4,
        secret_key=secrets.token_urlsafe(48),
        public_url=PUBLIC_URL,
    )


@pytest.fixture
async def app(settings: CloudSettings, clock: FixedClock) -> AsyncIterator[FastAPI]:
    application = create_app(settings, clock=clock, hasher=PasswordHasher(rounds=4))
    # The lifespan runs in a task of its own, as it does under uvicorn.
    ready, done = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with application.router.lifespan_context(application):
            ready.set()
            await done.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        task.result()
    yield application
    done.set()
    await task


@pytest.fixture
async def new_client(app: FastAPI) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    clients: list[httpx.AsyncClient] = []

    def make(*, address: str = "192.0.2.1", base_url: str = PUBLIC_URL, **more: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True, client=(address, 40000))
        clients.append(httpx.AsyncClient(transport=transport, base_url=base_url, **more))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(new_client: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    return new_client()


@pytest.fixture
def new_person(new_client: Callable[..., httpx.AsyncClient]) -> Callable[..., Awaitable[Person]]:
    """Registers a user, logs in, and (unless `organization` is None) creates an organization."""

    async def make(email: str = "ana@example.org", *, organization: str | None = "Fermenta") -> Person:
        client = new_client()
        password = f"two words {secrets.token_hex(6)}"
        answer = await client.post("/auth/register", json={"email": email, "password": password})
        assert answer.status_code == 201, answer.text
        user_id = UUID(answer.json()["id"])
        answer = await client.post("/auth/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        csrf = {"X-CSRF-Token": answer.headers["X-CSRF-Token"], "Origin": PUBLIC_URL}
        organization_id = None
        if organization is not None:
            made = await client.post("/api/v1/organizations", json={"name": organization}, headers=bearer)
            assert made.status_code == 201, made.text
            organization_id = UUID(made.json()["id"])
        return Person(client, email, password, user_id, organization_id, bearer, csrf)

    return make


@pytest.fixture
async def cloud_database(migrated_database: Any, clock: FixedClock) -> AsyncIterator[Database]:
    """The database as the web workers see it."""
    async with Database(migrated_database.web_url, clock=clock, pool_size=4) as database:
        yield database


@pytest.fixture
async def owner_database(migrated_database: Any, clock: FixedClock) -> AsyncIterator[Database]:
    """The database as its owner sees it, who is no superuser."""
    async with Database(migrated_database.url, clock=clock, pool_size=2) as database:
        yield database


@pytest.fixture
async def ingest_database(migrated_database: Any, clock: FixedClock) -> AsyncIterator[Database]:
    """The database as the ingest workers see it."""
    async with Database(migrated_database.ingest_url, clock=clock, pool_size=4) as database:
        yield database
