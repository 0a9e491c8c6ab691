"""Fixtures of the live tests: the plant of tests/support/plant.py, behind a web server with real sockets.

| fixture    | gives                                                                                                 |
|------------|-------------------------------------------------------------------------------------------------------|
| `serving`  | `async with serving() as server`: `.socket` (ws address of /ws/live-data), `.url`, `.app`              |
| `member`   | a `Person` who belongs to the plant's organization; `.bearer` headers                                  |
| `stranger` | a `Person` of another organization                                                                     |
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.web.app import create_app
from support.patience import awaiting
from support.plant import (
    Plant,
    agent,
    connect,
    ingest_db,
    ingest_settings,
    ingesting,
    plant,
    query,
    tags,
    web_db,
)

__all__ = ["agent", "connect", "ingest_db", "ingest_settings", "ingesting", "plant", "query", "tags", "web_db"]


@dataclass
class Server:
    """A web server of this test."""

    app: FastAPI
    url: str

    @property
    def socket(self) -> str:
        return self.url.replace("http", "ws") + "/ws/live-data"


@dataclass
class Member:
    """Someone who is logged in as an API client."""

    bearer: dict[str, str]
    cookies: dict[str, str]


@pytest.fixture
def web_settings(settings: CloudSettings, broker, free_port: int) -> CloudSettings:
    changed = {"mqtt_url": broker.url("cloud-web"), "public_url": f"http://127.0.0.1:{free_port}"}
    return CloudSettings.model_validate({**settings.model_dump(), **changed})


@pytest.fixture
def serving(web_settings: CloudSettings, free_port: int):
    """A web server on a real port, stopped at the end of the block."""

    @asynccontextmanager
    async def serve(settings: CloudSettings = web_settings) -> AsyncIterator[Server]:
        app = create_app(settings, hasher=PasswordHasher(rounds=4))
        listening = socket.create_server(("127.0.0.1", free_port))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="websockets-sansio", lifespan="on"))
        task = asyncio.create_task(server.serve([listening]))
        try:
            async with awaiting("the server has started and hears the broker"):
                while not server.started or not app.state.live_hub.connected:
                    await asyncio.sleep(0.01)
            yield Server(app, f"http://127.0.0.1:{free_port}")
        finally:
            server.should_exit = True
            await task
            listening.close()

    return serve


@pytest.fixture
def join(web_settings: CloudSettings, serving, plant: Plant):
    """Register someone, and make him a member of the plant's organization or of none."""

    async def make(email: str, *, of_plant: bool) -> Member:
        async with serving() as server, httpx.AsyncClient(base_url=server.url) as client:
            login = {"email": email, "password": "a long enough sentence"}
            registered = await client.post("/auth/register", json=login)
            assert registered.status_code == 201, registered.text
            if of_plant:
                who = [plant.organization_id, registered.json()["id"]]
                with psycopg.connect(plant.superuser_url) as connection:
                    connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
                    connection.execute("update users set organization_id = %s where id = %s", who)
            answer = await client.post("/auth/login", json=login)
            assert answer.status_code == 200, answer.text
            bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
            if not of_plant:
                made = await client.post("/api/v1/organizations", json={"name": "Others"}, headers=bearer)
                assert made.status_code == 201, made.text
            return Member(bearer, dict(client.cookies))

    return make


@pytest.fixture
async def member(join) -> Member:
    return await join("ana@example.org", of_plant=True)


@pytest.fixture
async def stranger(join) -> Member:
    return await join("eve@example.org", of_plant=False)
