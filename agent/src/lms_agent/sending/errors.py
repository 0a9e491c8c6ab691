"""What can go wrong between the agent and the broker.

LmsError
└── BrokerError              no connection now; the agent tries again for ever, as nothing is lost meanwhile
    ├── BrokerUnreachable    nobody answers at the address
    ├── BrokerUntrusted      TLS: this is not the server that the settings promise, or the clock is wrong
    ├── BrokerRefused        the broker answers, but does not let this account in or do what it must
    └── BrokerLost           the connection stood and is gone
"""

from lms_protocol.errors import LmsError


class BrokerError(LmsError):
    """No connection to the broker now.

    Attributes:
        url: the broker.
    """

    def __init__(self, url: str, message: str) -> None:
        self.url = url
        super().__init__(message)


class BrokerFileUnreadable(BrokerError):
    """A file that is needed to connect cannot be read.

    Attributes:
        reason: which one, and why not.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            url,
            f"The broker {url} cannot be tried: {reason}; check that the file is there and that this user may read it.",
        )


class BrokerUnreachable(BrokerError):
    """Nobody answers at the address.

    Attributes:
        reason: what the network says.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.reason = reason
        super().__init__(url, f"The broker {url} cannot be reached: {reason}.")


class BrokerUntrusted(BrokerError):
    """TLS failed.

    Attributes:
        reason: what TLS says.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.reason = reason
        remedy = "check ca_file in the settings"
        if "not yet valid" in reason or "expired" in reason:
            remedy = "check this computer's date and time, then the server's certificate"
        elif "doesn't match" in reason or "not valid for" in reason or "mismatch" in reason.lower():
            remedy = "check the host name in the broker's url"
        elif "wrong version number" in reason.lower() or "record layer" in reason.lower():
            remedy = "the port does not speak TLS: use mqtt:// or the broker's TLS port"
        super().__init__(url, f"The broker {url} cannot be trusted ({reason}); {remedy}.")


class BrokerRefused(BrokerError):
    """The broker answers, but does not let this account in, or not do what it must.

    Attributes:
        account: the account of the settings.
        reason: what the broker says.
    """

    def __init__(self, url: str, account: str, reason: str, remedy: str) -> None:
        self.account = account
        self.reason = reason
        super().__init__(url, f"The broker {url} refuses account {account!r}: {reason}; {remedy}.")


class BrokerLost(BrokerError):
    """The connection stood and is gone.

    Attributes:
        reason: what is known of it.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.reason = reason
        super().__init__(url, f"The connection to the broker {url} is gone: {reason}.")
