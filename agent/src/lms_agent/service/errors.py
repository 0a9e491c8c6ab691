"""Why a running agent cannot be asked.

LmsError                    lms_protocol.errors
└── ServiceError            asking the running agent failed
    ├── ServiceDenied       it runs, but this account may not ask it
    ├── ServiceSilent       it has the door open, and gives no answer
    └── ServiceRefused      it answers that it will not, or cannot
        └── ServiceBroken   it failed over what was asked: how far it came, nobody knows
"""

from pathlib import Path

from lms_protocol.errors import LmsError

BROKEN = "Broken"
"""The kind of an error that nobody foresaw."""


class ServiceError(LmsError):
    """Asking the running agent failed."""


class ServiceDenied(ServiceError):
    """This account may not ask the agent.

    Attributes:
        path: the socket.
    """

    def __init__(self, path: Path, account: str, group: str) -> None:
        self.path = path
        remedy = (
            f"use sudo, or add the account to the group {group} (`sudo usermod -aG {group} {account}`) and log in again"
        )
        if group == "root":  # never advise that
            remedy = "use sudo"
        super().__init__(f"{account} may not ask the agent at {path}: {remedy}")


class ServiceSilent(ServiceError):
    """No whole answer came.

    Attributes:
        path: the socket.
        reason: what came instead.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"the agent at {path} gives no answer ({reason}); `journalctl -u lms-agent` may say why")


class ServiceRefused(ServiceError):
    """The agent answers that it will not, or cannot.

    Attributes:
        kind: the name of its error's class.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        super().__init__(sentence)


class ServiceBroken(ServiceRefused):
    """The agent failed over what was asked; it may have done it, or a part of it."""
