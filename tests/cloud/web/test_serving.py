"""`lms-cloud serve` as a process: answers, logs in JSON, ends in order, names a busy port."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys

import httpx
import pytest
from support.patience import awaiting


@pytest.fixture
def environment(migrated_database, free_port) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("LMS_")},
        "LMS_DATABASE_URL": migrated_database.web_url,
        "LMS_SECRET_KEY": secrets.token_urlsafe(48),
        "LMS_LISTEN": f"127.0.0.1:{free_port}",
        "LMS_PUBLIC_URL": f"http://127.0.0.1:{free_port}",
    }


async def start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lms_cloud.cli", "serve"), env=environment, stderr=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serves_until_it_is_told_to_stop(environment, workers) -> None:
    process = await start({**environment, "LMS_WORKERS": workers})
    try:
        async with httpx.AsyncClient(base_url=environment["LMS_PUBLIC_URL"]) as client:
            async with awaiting("the server answers"):
                while True:
                    try:
                        answer = await client.get("/healthz", headers={"X-Request-ID": "id-of-the-test"}, timeout=30)
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
            assert answer.status_code == 200
            wrong = {"email": "a@b\r\nforged: line", "password": "hidden-word"}
            assert (await client.post("/auth/login", json=wrong)).status_code == 401
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode in {0, -signal.SIGTERM}
    lines = [json.loads(line) for line in log.decode().splitlines()]
    requests = [line for line in lines if line["event"] == "request" and line["path"] == "/healthz"]
    assert requests[0]["correlation_id"] == "id-of-the-test"
    assert "hidden-word" not in log.decode()
    assert any(line["event"] == "Application shutdown complete." for line in lines)


async def test_busy_port_is_named(environment) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(environment["LMS_LISTEN"].rpartition(":")[2])))
        other.listen()
        process = await start(environment)
        _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert f"LMS_LISTEN says {environment['LMS_LISTEN']}" in said.decode()
    assert "Address already in use" in said.decode()
