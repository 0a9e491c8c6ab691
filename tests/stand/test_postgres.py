"""The PostgreSQL supervisor, on a real server."""

import os
import signal
import socket
import time

import psutil
import psycopg
import pytest
from lms_firmware_sim.stand import postgres_programs, quarters
from lms_firmware_sim.stand.errors import PortBusyError, ServiceFailedError, SettingRefusedError
from lms_firmware_sim.stand.postgres import PostgresServer


def test_everyone_is_asked_for_a_password(postgres):
    with psycopg.connect(postgres.superuser_url) as connection:
        rules = connection.execute(
            "select auth_method, address from pg_hba_file_rules where type <> 'local'"
        ).fetchall()
        assert {method for method, _ in rules} == {"scram-sha-256"}
        assert {address for _, address in rules} == {"127.0.0.1", "::1"}
        (stored,) = connection.execute("select rolpassword from pg_authid where rolname = 'postgres'").fetchone()
        assert stored.startswith("SCRAM-SHA-256$")
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.server.url(password=password))


def test_it_listens_on_loopback_only(postgres):
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(postgres.server.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert not [c for c in psutil.Process(postgres.server.pid).net_connections("unix") if c.laddr]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_root_drops_to_another_user(postgres, broker):
    for pid in (postgres.server.pid, broker.running.pid):
        process = psutil.Process(pid)
        assert set(process.uids()) == {quarters.service_user().uid}
        assert set(process.gids()) == {quarters.service_user().gid}


def test_data_folder_is_closed_to_others(postgres):
    data = postgres.server.data
    assert data.stat().st_mode & 0o777 == 0o700
    assert not list(postgres.server.home.glob("password*"))


def test_owner_of_a_database_is_no_superuser(database):
    with psycopg.connect(database.url) as connection:
        row = connection.execute("select rolsuper, rolbypassrls from pg_roles where rolname = current_user").fetchone()
        assert row == (False, False)


def test_data_is_there_after_a_kill(start_postgres):
    server = start_postgres()
    url = server.ensure_owner("kept", name="owner", password="its password")
    with psycopg.connect(url) as connection:
        connection.execute("create table t as select generate_series(1, 1000) as n")
    port = server.port
    os.kill(server.pid, signal.SIGKILL)
    while server.poll() is None:
        time.sleep(0.01)
    server.start()
    assert server.port == port
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (1000,)


def test_a_stale_lock_with_anothers_number_does_not_keep_it_from_starting(start_postgres):
    server = start_postgres()
    server.stop()
    lock = server.data / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{server.data}\n1700000000\n{server.port}\n\n127.0.0.1\n  12345 1\nready   \n")
    server.start()
    assert server.pid is not None


def test_a_busy_port_is_named_with_its_holder(stand_folder):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = PostgresServer(
            stand_folder / "busy",
            postgres_programs.for_tests(os.environ),
            password="p",
            log_path=stand_folder / "busy.log",
            port=port,
        )
        with pytest.raises(PortBusyError, match=rf"Port {port} .*PostgreSQL.*process {os.getpid()}"):
            server.start()
        assert server.pid is None


def test_another_password_than_the_datas_is_told(start_postgres):
    server = start_postgres()
    server.stop()
    server.password = "another"
    with pytest.raises(ServiceFailedError, match="secrets were changed"):
        server.start()


def test_a_folder_with_a_space_will_do(stand_folder):
    server = PostgresServer(
        stand_folder / "with a space",
        postgres_programs.for_tests(os.environ),
        password="p w",
        log_path=stand_folder / "space.log",
    )
    server.start()
    try:
        psycopg.connect(server.url()).close()
    finally:
        server.stop()


def test_a_folder_without_programs_is_refused(tmp_path):
    with pytest.raises(SettingRefusedError, match="LMS_TEST_PG_BIN"):
        postgres_programs.for_tests({"LMS_TEST_PG_BIN": str(tmp_path)})
