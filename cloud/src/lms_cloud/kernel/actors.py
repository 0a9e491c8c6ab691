"""Who does something: named on every event."""

from typing import NamedTuple
from uuid import UUID


class Actor(NamedTuple):
    """Who changed something, as the audit journal shows it.

    Attributes:
        kind: "user", "agent", "operator" (someone at the server's command line) or "system".
        id: the user's id, the agent's wire id, or the program's name.
    """

    kind: str
    id: str

    def __str__(self) -> str:
        """As stored: `user 6f0c…`, `agent agent-1`."""
        return f"{self.kind} {self.id}"

    @classmethod
    def user(cls, user_id: UUID) -> "Actor":
        """A user who is logged in."""
        return cls("user", str(user_id))

    @classmethod
    def agent(cls, wire_id: str) -> "Actor":
        """An agent, by what its births say."""
        return cls("agent", wire_id)

    @classmethod
    def operator(cls) -> "Actor":
        """Someone at the command line of the server."""
        return cls("operator", "lms-cloud")

    @classmethod
    def system(cls) -> "Actor":
        """The program itself."""
        return cls("system", "lms-cloud")
