"""Services that drop from root to another user live where that user reaches, and nobody's permissions change."""

import os
from pathlib import Path

import psycopg
import pytest
from lms_firmware_sim.stand import postgres_programs, quarters
from lms_firmware_sim.stand.postgres import PostgresServer

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")


def test_an_ordinary_user_keeps_everything_where_it_is(tmp_path):
    assert quarters.prepare(tmp_path / "postgres", None) == tmp_path / "postgres"


@as_root
def test_data_goes_elsewhere_when_the_user_cannot_reach_the_checkout(tmp_path, monkeypatch, stand_folder):
    monkeypatch.setattr(quarters, "ELSEWHERE", stand_folder / "elsewhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = postgres_programs.from_package()
    server = PostgresServer(closed / "postgres", programs, password="p", log_path=tmp_path / "log")
    server.start()
    try:
        psycopg.connect(server.url()).close()
        assert server.data.is_relative_to(stand_folder / "elsewhere")
        assert (closed / "postgres.elsewhere").read_text().strip() == str(server.home)
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        server.stop()
    quarters.remove(closed / "postgres")
    assert not server.home.exists()
    assert not list(closed.iterdir())


@as_root
def test_programs_that_the_user_cannot_reach_are_copied(tmp_path, stand_folder):
    package = postgres_programs.from_package().root
    assert package is not None
    copy = postgres_programs.copied(postgres_programs.from_package(), stand_folder / "programs")
    assert copy.bin.is_relative_to(stand_folder / "programs")
    server = PostgresServer(stand_folder / "from-copy", copy, password="p", log_path=tmp_path / "log")
    server.start()
    server.stop()


@as_root
def test_an_edited_note_does_not_choose_what_is_removed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    Path(tmp_path / "postgres.elsewhere").write_text(f"{precious}\n")
    quarters.remove(tmp_path / "postgres")
    assert precious.exists()
