"""The error tree that every part of LMS evo grows from.

    LmsError                    anything that LMS evo itself reports
    ├── WireError               bytes or text from the broker that break an agreement
    │   ├── TopicError          a topic, or an id that may not be part of one
    │   ├── PayloadError        bytes that are no Sparkplug payload, or a metric that breaks its rules
    │   ├── SessionError        a valid message at the wrong moment (data before birth, unknown alias)
    │   └── DeliveryError       an acknowledgement or batch that contradicts what was sent
    ├── InstrumentError         the agent: talking to an instrument failed (lms_agent.errors)
    ├── UnusableFile            a TOML file that cannot be used, with every problem in it (lms_protocol.checked_toml)
    │   ├── ProfileError        an instrument profile (lms_protocol.instruments)
    │   └── SettingsError       the agent's configuration (lms_agent.errors); the cloud's hangs right below LmsError
    └── …                       each distribution hangs its own branches below LmsError

Attributes carry the facts, so that callers need not parse the sentence; the sentence is for people.
"""


class LmsError(Exception):
    """Anything that LMS evo itself reports. The message is a sentence that a technician understands."""


class WireError(LmsError):
    """Bytes or text from the broker break what agent and cloud agreed on."""


class TopicError(WireError):
    """A topic is not one of ours, or an id may not be part of a topic.

    Attributes:
        text: the topic or id as found.
        reason: what is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        self.reason = reason
        super().__init__(f"{text!r}: {reason}")


class PayloadError(WireError):
    """Bytes are no Sparkplug B payload, or a metric in it breaks the rules.

    Attributes:
        reason: what is wrong.
        metric: name or alias of the metric concerned, where there is one.
    """

    def __init__(self, reason: str, *, metric: str | int | None = None) -> None:
        self.reason = reason
        self.metric = metric
        super().__init__(reason if metric is None else f"metric {metric!r}: {reason}")


class SessionError(WireError):
    """A valid message that the session's state does not allow, such as data before a birth."""


class DeliveryError(WireError):
    """An acknowledgement or a batch contradicts what has been sent.

    Attributes:
        number: the batch number concerned.
    """

    def __init__(self, reason: str, *, number: int) -> None:
        self.number = number
        super().__init__(f"batch {number}: {reason}")
