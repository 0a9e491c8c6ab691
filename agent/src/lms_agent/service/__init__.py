"""The door of a running agent: the command line asks through it, and so shares the buses without disturbing anybody.

    socket_file.py   the Unix socket beside the log, under a name that is short enough
    door.py          listens, one JSON line in, one out
    desk.py          what may be asked, and who answers
    client.py        how the command line asks
    errors.py        why it cannot

Only who may write the log's folder's socket may ask: the agent's user and its group. Nothing listens on a network port.
"""

from lms_agent.service.client import Service
from lms_agent.service.errors import ServiceBroken, ServiceDenied, ServiceError, ServiceRefused, ServiceSilent

__all__ = ["Service", "ServiceBroken", "ServiceDenied", "ServiceError", "ServiceRefused", "ServiceSilent"]
