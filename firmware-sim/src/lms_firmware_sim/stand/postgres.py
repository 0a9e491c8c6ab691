"""A PostgreSQL server of our own: listens on 127.0.0.1 only, asks everyone for a password, dies with its parent.

Neighbours: ``service`` (what all servers have), ``postgres_programs`` (whose binaries), ``quarters`` (where, and as
whom), ``spawning`` (how it starts).

The kernel sends the server SIGQUIT when we die, even by kill -9: it ends its own children at once and recovers from
its write-ahead log at the next start.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from lms_firmware_sim.stand import ports, quarters
from lms_firmware_sim.stand.errors import FolderInUseError, ServiceFailedError
from lms_firmware_sim.stand.postgres_programs import PostgresPrograms, copied
from lms_firmware_sim.stand.service import Service
from lms_firmware_sim.stand.spawning import POLL_S, last_words, spawn

SUPERUSER = "postgres"
READY_WITHIN_S = 60.0
ORPHANS_WITHIN_S = 10.0
WITHOUT_DURABILITY = {"fsync": "off", "full_page_writes": "off"}
"""For tests: what a crash of the machine would lose does not matter there; a kill -9 of the server loses nothing."""


class PostgresServer(Service):
    """One PostgreSQL server and its data folder.

    Args:
        wanted: the folder it lives in; it may end up elsewhere when started as root (see ``quarters``).
        programs: whose binaries to run.
        password: the superuser's.
        log_path: where its words go.
        port: a given port, or None for a free one, kept over restarts.
        settings: server settings beside our own.
    """

    name = "PostgreSQL"
    stopping = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
    """Fast shutdown first (open transactions roll back), then immediate shutdown."""
    taken = ("could not bind", "Address already in use")

    def __init__(
        self,
        wanted: Path,
        programs: PostgresPrograms,
        *,
        password: str,
        log_path: Path,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(wanted, log_path=log_path, port=port)
        self.password = password
        self.data = self.home / "data"
        if not quarters.reachable(programs.bin, self.user):
            programs = copied(programs, self.home / "programs")
        self.programs = programs
        self._settings = dict(settings or {})

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """A ``postgresql://`` URL for one of its databases; by default for the superuser."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{ports.LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Start it, creating its data folder at the first time, and wait until it answers.

        Raises:
            PortBusyError: somebody else has the given port.
            FolderInUseError: another server works in the data folder.
            ServiceFailedError: it ended, or did not answer in time.
        """
        if not self.data.exists():
            self._create()
        self._clear_stale_lock()
        self._require_port()
        self._start()

    def ensure_owner(self, database: str, *, name: str, password: str) -> str:
        """Make a database and the ordinary user who owns it, where missing; give the owner's URL.

        The owner is no superuser, so that row security holds for it too; it may create roles, because the
        migration makes the group roles of web and ingest.
        """
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if connection.execute("select 1 from pg_roles where rolname = %s", (name,)).fetchone() is None:
                connection.execute(
                    sql.SQL("create role {} login createrole nosuperuser nobypassrls password {}").format(
                        sql.Identifier(name), sql.Literal(password)
                    )
                )
            if connection.execute("select 1 from pg_database where datname = %s", (database,)).fetchone() is None:
                connection.execute(
                    sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(name))
                )
        return self.url(database, user=name, password=password)

    def _create(self) -> None:
        """Run initdb in a folder beside and rename it, so that an interrupted initdb leaves nothing half made."""
        fresh = quarters.closed_folder(self.home / f"data.{secrets.token_hex(4)}", self.user)
        password_file = self.home / f"password.{secrets.token_hex(4)}"
        try:
            password_file.touch(mode=0o600)
            password_file.write_text(self.password)
            quarters.own(password_file, self.user)
            modern = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self.programs.major >= 17 else []
            command: list[str | Path] = [
                self.programs.bin / "initdb",
                "-D",
                fresh,
                "-U",
                SUPERUSER,
                "-A",
                "scram-sha-256",
            ]
            command += [f"--pwfile={password_file}", "-E", "UTF8", "--locale=C", *modern]
            if self._settings.get("fsync") == "off":
                command.append("--no-sync")
            process = spawn(command, log_path=self.log_path, env=_environment(), cwd=self.home, user=self.user)
            if process.wait() != 0:
                raise ServiceFailedError("PostgreSQL's initdb", "failed", self.log_path, last_words(self.log_path))
            fresh.rename(self.data)
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(fresh, ignore_errors=True)

    def _launch(self) -> None:
        settings = {
            "listen_addresses": ports.LOOPBACK,
            "port": str(self.port),
            # No Unix socket: its path may hold 107 bytes, a checkout's path may be longer.
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "shared_preload_libraries": ",".join(self.programs.preloads()),
            **self._settings,
        }
        command: list[str | Path] = [self.programs.bin / "postgres", "-D", self.data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = spawn(
            command,
            log_path=self.log_path,
            env=_environment(),
            cwd=self.home,
            user=self.user,
            on_parent_death=signal.SIGQUIT,
        )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            if process.poll() is not None:
                raise ServiceFailedError("PostgreSQL", "ended while starting", self.log_path, last_words(self.log_path))
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                refused = "password authentication failed" in str(error)
                if refused or time.monotonic() > deadline:
                    self.stop()
                    reason = (
                        "does not accept its own password: the secrets were changed after the data was made"
                        if refused
                        else f"did not answer within {READY_WITHIN_S:.0f} s ({error})"
                    )
                    raise ServiceFailedError("PostgreSQL", reason, self.log_path) from error
                time.sleep(POLL_S)
            else:
                return

    def _clear_stale_lock(self) -> None:
        """Wait for what a killed server left running, then remove its lock file.

        PostgreSQL takes a lock file for valid as long as *some* process has the number in it, which after a
        reboot may be anyone. Every server process works in the data folder, so these are what we look for.
        """
        deadline = time.monotonic() + ORPHANS_WITHIN_S
        while orphans := _working_in(self.data):
            if time.monotonic() > deadline:
                raise FolderInUseError(self.data, orphans)
            time.sleep(POLL_S)
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _working_in(folder: Path) -> list[int]:
    """The processes whose working folder is ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def _environment() -> dict[str, str]:
    """Only what the server needs: nothing of ours (PGDATA, LC_ALL, secrets) reaches it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
