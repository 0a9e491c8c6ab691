"""An account may have no name."""

import getpass
import os

from lms_agent.accounts import account_name


def test_account_without_a_name_is_told_by_its_number(monkeypatch):
    def nobody_knows():
        raise KeyError("getpwuid(): uid not found: 54321")

    assert account_name() == getpass.getuser()
    monkeypatch.setattr(getpass, "getuser", nobody_knows)
    assert account_name() == f"user {os.geteuid()}"
