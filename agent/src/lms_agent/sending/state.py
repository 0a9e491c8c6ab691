"""What is to be known of sending from outside: for `lms_agent.health`, and through it for the people at the bench."""

from dataclasses import dataclass


@dataclass(slots=True)
class SendingState:
    """How sending goes; plain numbers that sending keeps up to date.

    Attributes:
        connected: whether the connection to the broker stands.
        since_ms: since when that is so, ms UTC.
        born: whether births are out, so that batches are sent.
        host_online: what the primary host last said.
        host_since_ms: the timestamp of that, ms UTC by the host's clock; 0 if it never spoke.
        acked: highest batch number up to which everything is committed in the cloud.
        unacknowledged: batches that are not.
        last_ack_at_ms: when the cloud last said so, ms UTC; None if never since the start.
        refused: batch number that the cloud refused; None if none.
        error: why there is no connection; "" if there is one.
        births, connections, sent_batches, timeouts: counted since the start.
    """

    connected: bool = False
    since_ms: int = 0
    born: bool = False
    host_online: bool = False
    host_since_ms: int = 0
    acked: int = 0
    unacknowledged: int = 0
    last_ack_at_ms: int | None = None
    refused: int | None = None
    error: str = ""
    births: int = 0
    connections: int = 0
    sent_batches: int = 0
    timeouts: int = 0
