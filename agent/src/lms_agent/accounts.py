"""Who this process is, for people: an account may have no name, as in a container or while a directory is away."""

import getpass
import os


def account_name() -> str:
    """The account's name, or its number if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"
