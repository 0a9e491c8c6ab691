"""Rows 57 to 62: what happens to PostgreSQL while ingest commits."""

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
import pytest
from support.loop_disk import small_tmpfs
from support.proxy import Cut, CutAfter

DID_NOT_COMMIT = "the database did not commit"
BACKENDS = """
select pg_terminate_backend(pid) from pg_stat_activity
where starts_with(application_name, 'lms-cloud ingest commits ') and state = 'active' and query ilike 'commit%'
"""


WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.mark.fault(row=57)
async def test_backend_ended_during_commit_loses_and_doubles_nothing(prove: Any, own_database: Any) -> None:
    # Each COMMIT waits for company for 50 ms, so that it can be met while it lasts.
    server, database = await asyncio.to_thread(own_database, commit_delay="50000", commit_siblings="0", fsync="on")
    async with prove(database=database) as proof:
        with psycopg.connect(server.url(database.name), autocommit=True) as superuser:

            def ended() -> bool:
                proof.row.injected += len(superuser.execute(BACKENDS).fetchall())
                return proof.row.injected >= 50

            await proof.until(ended, "backends ended during COMMIT", 300)
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=57)
@pytest.mark.quick
async def test_commits_whose_answer_is_lost_lose_and_double_nothing(
    prove: Any, proxy: Any, postgres: Any, full: bool, chance: random.Random
) -> None:
    async with proxy(postgres.server.port, mqtt=False) as way, prove(database_port=way.port) as proof:
        wanted = 60 if full else 4
        outcomes = {Cut: 0, CutAfter: 0}

        def cut(data: bytes) -> None:
            if b"COMMIT" in data and proof.row.injected < wanted and chance.random() < 0.5:
                kind = (Cut, CutAfter)[proof.row.injected % 2]
                proof.row.injected += 1
                outcomes[kind] += 1
                raise kind

        way.to_server.on_bytes = cut
        await proof.until(lambda: proof.row.injected >= wanted, "connections cut at COMMIT", 300)
        way.to_server.on_bytes = None
        await proof.recovers()
        await proof.holds()
        proof.row.notes.append(f"{outcomes[Cut]} cut before, {outcomes[CutAfter]} after COMMIT had reached the server")


@pytest.mark.fault(row=58)
async def test_killed_postmaster_loses_and_doubles_nothing(
    prove: Any, own_database: Any, chance: random.Random
) -> None:
    server, database = await asyncio.to_thread(own_database, fsync="on", full_page_writes="on")
    async with prove(database=database) as proof:
        for _ in range(8):
            await asyncio.sleep(chance.uniform(0.1, 2.0))
            await asyncio.to_thread(server.kill)
            proof.row.injected += 1
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            await asyncio.to_thread(server.start)
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=59)
async def test_full_database_disk_loses_nothing(prove: Any, own_database: Any, stand_folder: Path) -> None:
    with small_tmpfs(stand_folder / "small", size_mib=200) as place:
        server, database = await asyncio.to_thread(
            own_database, place / "postgres", max_wal_size="48MB", min_wal_size="32MB"
        )
        async with prove(database=database) as proof:
            for _ in range(3):
                said = proof.chain.said("ingest").count(DID_NOT_COMMIT)
                filler = place / "filler"
                with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
                    _fill(file)
                proof.row.injected += 1
                await proof.until(
                    lambda said=said: proof.chain.said("ingest").count(DID_NOT_COMMIT) > said,
                    "the database refuses",
                    120,
                )
                await asyncio.sleep(5.0)
                filler.unlink()
                if server.poll() is not None:  # PostgreSQL gives up when its log finds no room; its keeper starts it
                    await asyncio.to_thread(server.start)
                    proof.row.notes.append("PostgreSQL had ended")
                await proof.recovers()
            await proof.holds()
        await asyncio.to_thread(server.stop)


@pytest.mark.fault(row=60)
async def test_lock_of_thirty_seconds_only_delays(prove: Any, migrated_database: Any) -> None:
    async with prove() as proof:
        with psycopg.connect(migrated_database.superuser_url) as holding:
            holding.execute("lock table ledger in access exclusive mode")
            proof.row.injected += 1
            await asyncio.sleep(30.0)
            assert proof.query(WAITING)[0][0] > 0, "ingest waits for it"
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=61)
@pytest.mark.usefixtures("timescale")
async def test_late_rows_into_compressed_chunks_are_stored_once(prove: Any, chance: random.Random) -> None:
    """What waited comes into chunks that were compressed meanwhile, and that are compressed again and again."""
    async with prove() as proof:
        compressing = asyncio.create_task(_compress_on_and_on(proof.database_url))
        for _ in range(10):
            proof.chain.kill("ingest")
            await asyncio.sleep(chance.uniform(1.0, 3.0))
            with psycopg.connect(proof.database_url, autocommit=True) as superuser:
                superuser.execute(COMPRESS)
                states = superuser.execute(COMPRESSED).fetchall()
            assert states
            assert set(states) == {(True,)}
            proof.row.injected += 1
            proof.chain.again("ingest")
            await proof.recovers()
        compressing.cancel()
        with suppress(asyncio.CancelledError):
            await compressing
        await proof.holds()


COMPRESS = "select compress_chunk(chunk) from show_chunks('readings') chunk"
COMPRESSED = "select is_compressed from timescaledb_information.chunks where hypertable_name = 'readings'"


async def _compress_on_and_on(url: str) -> None:
    """As the policy does, far more often. It may lose a deadlock against ingest: the policy would come again, too."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as superuser:
        while True:
            with suppress(psycopg.errors.DeadlockDetected):
                await superuser.execute(COMPRESS)
            await asyncio.sleep(0.3)


@pytest.mark.fault(row=62)
async def test_deadlock_of_which_ingest_is_the_victim_loses_nothing(prove: Any, migrated_database: Any) -> None:
    async with prove() as proof:
        for _ in range(5):
            said = proof.chain.said("ingest").count("deadlock")
            async with await psycopg.AsyncConnection.connect(migrated_database.superuser_url) as rival:
                await rival.execute("set deadlock_timeout = '1min'")  # so that it is ingest who finds it, and gives way
                await rival.execute("select from latest_blocks order by bioreactor_id, block for update")
                await proof.until(
                    lambda: proof.query("select count(*) from pg_locks where not granted")[0][0] > 0, "ingest waits"
                )
                # Ingest has advanced the feeds in the same transaction.
                await asyncio.wait_for(rival.execute("update feeds set cursor = cursor"), 30)
                await rival.rollback()
            proof.row.injected += 1
            await proof.until(
                lambda said=said: proof.chain.said("ingest").count("deadlock") > said, "ingest was the victim"
            )
            await proof.recovers()
        await proof.holds()


def _fill(file: BinaryIO) -> None:
    while True:
        os.write(file.fileno(), bytes(4096))
