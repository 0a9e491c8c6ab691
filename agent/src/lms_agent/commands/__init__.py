"""Set points, from the cloud and from the bench: checked, carried out once, read back, and told in the log.

    hearing.py     what a host's DCMD asks for
    limits.py      what the settings allow
    store.py       what must be known over restarts: ids, locks, what is not yet told; a file beside the log
    telling.py     events → the log
    commanding.py  the way of a command, from its coming to its end

Neighbours: `lms_agent.sending` hears hosts, `lms_agent.service` the bench; `lms_agent.bench` writes to instruments;
`lms_protocol.command_book` decides.
"""

from lms_agent.commands.commanding import Commands
from lms_agent.commands.store import CommandStore

__all__ = ["CommandStore", "Commands"]
