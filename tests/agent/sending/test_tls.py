"""mqtts://: through a TLS door in front of the real broker; only the right certificate opens it."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=test broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    return folder


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def door(certificate: Path, broker: Any) -> AsyncIterator[int]:
    """The port of a TLS server that passes everything on to the broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(forward(reader, inner_writer), forward(inner_reader, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_agent_sends_over_tls(
    host: Any, bench: Any, make_sender: Any, running: Any, certificate: Path, door: int
) -> None:
    await host.say(online=True)
    running(make_sender(port=door, tls=True, ca_file=certificate / "cert.pem"))
    await bench.append(20)
    await host.until(lambda: bench.log.acked == 20)


async def test_unknown_certificate_is_refused_and_named(
    host: Any, bench: Any, make_sender: Any, running: Any, door: int
) -> None:
    await host.say(online=True)
    sender = make_sender(port=door, tls=True)
    running(sender)
    await host.until(lambda: sender.state.error)
    assert "cannot be trusted" in sender.state.error
    assert "ca_file" in sender.state.error
    assert sender.state.connections == 0


async def test_certificate_of_another_host_is_refused_and_named(
    host: Any, bench: Any, make_sender: Any, running: Any, certificate: Path, door: int
) -> None:
    sender = make_sender(port=door, tls=True, ca_file=certificate / "cert.pem", hostname="localhost")
    running(sender)
    await host.until(lambda: sender.state.error)
    assert "check the host name" in sender.state.error


async def test_missing_certificate_file_is_named(
    host: Any, bench: Any, make_sender: Any, running: Any, tmp_path: Path, door: int
) -> None:
    sender = make_sender(port=door, tls=True, ca_file=tmp_path / "none.pem")
    running(sender)
    await host.until(lambda: sender.state.error)
    assert "none.pem" in sender.state.error
