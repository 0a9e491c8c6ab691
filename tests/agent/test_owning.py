"""What `sudo` makes beside the log is left to whom the folder belongs: the agent could not start otherwise."""

import os
from contextlib import closing

import pytest
from lms_agent.commands import CommandStore
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.owning import open_or_make

AGENT = 61_234
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def folder(tmp_path):
    """Of the agent's account."""
    os.chown(tmp_path, AGENT, AGENT)
    return tmp_path


@AS_ROOT
def test_log_and_locks_that_root_makes_belong_to_the_agent(folder):
    with SqliteLog.open(folder / "log.sqlite3") as log, closing(CommandStore.open(log.path)):
        owners = {file.name: file.stat().st_uid for file in folder.iterdir()}
    assert set(owners) > {"log.sqlite3", "log.sqlite3.lock", "log.sqlite3.commands"}
    assert set(owners.values()) == {AGENT}, owners


@AS_ROOT
def test_what_a_link_leads_to_and_what_holds_something_keep_their_owner(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "empty"
    elsewhere.touch()
    (folder / "link").symlink_to(elsewhere)
    (folder / "second name").hardlink_to(elsewhere)
    (folder / "full").write_text("kept")
    for name in ("link", "second name", "full"):
        os.close(open_or_make(folder / name))
        assert (folder / name).stat().st_uid == 0, name
