"""mqtts://: through a TLS door in front of the real broker; only the right certificate opens it."""

import asyncio
import ipaddress
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
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


@asynccontextmanager
async def door_of(certificate: Path, broker: Any) -> AsyncIterator[int]:
    """The port of a TLS server that passes everything on to the broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(forward(reader, inner_writer), forward(inner_reader, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def door(certificate: Path, broker: Any) -> AsyncIterator[int]:
    async with door_of(certificate, broker) as port:
        yield port


def certificate_from(begins_at: datetime, folder: Path) -> Path:
    """A folder with cert.pem and key.pem for 127.0.0.1, valid from then on."""
    x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography to make a certificate of the future")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test broker")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins_at)
        .not_valid_after(begins_at + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder


async def test_clock_behind_the_certificate_keeps_logging_and_connects_when_it_is_right(
    host: Any, bench: Any, make_sender: Any, running: Any, broker: Any, tmp_path: Path
) -> None:
    """Row 36: to this computer the certificate is of the future; by and by its clock gets there."""
    begins_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    folder = certificate_from(begins_at, tmp_path)
    await host.say(online=True)
    async with door_of(folder, broker) as port:
        sender = make_sender(port=port, tls=True, ca_file=folder / "cert.pem")
        running(sender)
        await host.until(lambda: sender.state.error)
        assert "not yet valid" in sender.state.error
        assert "check this computer's date and time" in sender.state.error
        await bench.append(20)
        assert (bench.log.head, sender.state.connections) == (20, 0)
        await host.until(lambda: bench.log.acked == 20)
    assert datetime.now(UTC) >= begins_at


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
