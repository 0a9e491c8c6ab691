"""The cloud's branch of the error tree. Domain code raises these and knows no HTTP; web/errors.py maps them.

    LmsError
    ├── SettingsError           a setting is missing or cannot be used; the program does not start
    ├── DatabaseSetupError      the database's roles or migrations are not as they must be
    └── RequestError            something that was asked for cannot be done
        ├── Unauthenticated     nobody is logged in, or what proves it is not valid          401
        ├── Forbidden           someone is, but may not do this                              403
        ├── NotFound            it is not there, or not visible to who asks                  404
        ├── Conflict            it contradicts what is already there                         409
        ├── Invalid             a field holds what is not allowed                            422
        └── TooManyRequests     too often in too short a time                                429

Attributes carry the facts; the message is a sentence that says what is wrong, where, and what to do.
"""

from typing import Any

from lms_protocol.errors import LmsError


class SettingsError(LmsError):
    """A setting is missing or cannot be used.

    Attributes:
        variable: the environment variable concerned.
        reason: what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, variable: str, reason: str, remedy: str) -> None:
        self.variable = variable
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{variable} {reason}. {remedy}")


class DatabaseSetupError(LmsError):
    """The database cannot be brought into the shape that the program needs.

    Attributes:
        reason: what is wrong.
        remedy: what to do.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}. {remedy}")


class RequestError(LmsError):
    """Something that was asked for cannot be done."""


class Unauthenticated(RequestError):
    """Nobody is logged in, or what should prove it is not valid. One sentence for all cases: it tells nothing."""

    def __init__(self, reason: str = "Log in first: the session is missing, has ended, or is not valid") -> None:
        super().__init__(f"{reason}.")


class Forbidden(RequestError):
    """The user is known but may not do this.

    Attributes:
        action: what was asked for.
        needed: what would be needed to do it.
    """

    def __init__(self, action: str, needed: str) -> None:
        self.action = action
        self.needed = needed
        super().__init__(f"You may not {action}: {needed}.")


class NotFound(RequestError):
    """The thing does not exist, or belongs to another organization: both look the same.

    Attributes:
        kind: what was looked for, such as "bioreactor".
        key: the id or name it was looked for by.
    """

    def __init__(self, kind: str, key: object) -> None:
        self.kind = kind
        self.key = str(key)
        super().__init__(f"There is no {kind} {self.key!r}, or you may not see it.")


class Conflict(RequestError):
    """What was asked for contradicts what is already there.

    Attributes:
        kind: the kind of thing concerned.
        key: the value that is already taken, or the thing that changed meanwhile.
    """

    def __init__(self, kind: str, key: object, reason: str) -> None:
        self.kind = kind
        self.key = str(key)
        super().__init__(f"{kind.capitalize()} {self.key!r} {reason}.")


class Invalid(RequestError):
    """A field holds what is not allowed.

    Attributes:
        field: its name as the client wrote it, such as "name" or "volume_l".
        found: what it holds (never a secret: pass a description instead).
        allowed: what it may hold.
    """

    def __init__(self, field: str, found: Any, allowed: str) -> None:
        self.field = field
        self.found = found
        self.allowed = allowed
        super().__init__(f"{field}: found {found!r}; allowed is {allowed}.")


class TooManyRequests(RequestError):
    """Asked too often in too short a time.

    Attributes:
        retry_after_s: seconds until it is worth trying again.
    """

    def __init__(self, what: str, retry_after_s: int) -> None:
        self.what = what
        self.retry_after_s = retry_after_s
        super().__init__(f"Too many {what}: try again in {retry_after_s} s.")
