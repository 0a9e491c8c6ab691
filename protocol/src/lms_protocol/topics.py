"""Build and parse the topics of the feed: Sparkplug B's, and the cloud's live topic.

    spBv1.0/{group}/{type}/{node}             NBIRTH NDATA NDEATH NCMD
    spBv1.0/{group}/{type}/{node}/{device}    DBIRTH DDATA DDEATH DCMD
    spBv1.0/STATE/{host}                      a host application's state
    lms/live/{group}/{device}                 what a commit brought (see SPEC.md, "Live topic")

group = the organization's wire id, node = the agent's, device = the bioreactor's.

Source: Sparkplug 3.0.0, chapter 4.
"""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from lms_protocol.errors import TopicError

NAMESPACE = "spBv1.0"
LIVE_PREFIX = "lms/live"
MAX_ID_LENGTH = 128
_FORBIDDEN = frozenset("+#/")


class MessageType(StrEnum):
    """The Sparkplug message types, except STATE, which has a topic of another shape."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"
    DCMD = "DCMD"

    @property
    def of_device(self) -> bool:
        """Whether the message speaks of a device (its topic has five levels) rather than of the node."""
        return self.value[0] == "D"


class NodeTopic(NamedTuple):
    """A parsed Sparkplug topic of a node or of a device below it."""

    group: str
    type: MessageType
    node: str
    device: str | None = None

    def __str__(self) -> str:
        """The topic as published."""
        base = f"{NAMESPACE}/{self.group}/{self.type.value}/{self.node}"
        return base if self.device is None else f"{base}/{self.device}"


class StateTopic(NamedTuple):
    """The topic on which a host application says that it is online."""

    host: str

    def __str__(self) -> str:
        """The topic as published."""
        return f"{NAMESPACE}/STATE/{self.host}"


class LiveTopic(NamedTuple):
    """The topic on which the cloud says what a commit brought for one bioreactor."""

    group: str
    device: str

    def __str__(self) -> str:
        """The topic as published."""
        return f"{LIVE_PREFIX}/{self.group}/{self.device}"


def check_id(text: str, what: str = "id") -> str:
    """Return `text` if it may be one level of a topic.

    Raises:
        TopicError: it is empty, too long, or has `+`, `/`, `#` or a control character.
    """
    if not text:
        raise TopicError(text, f"{what} is empty")
    if len(text) > MAX_ID_LENGTH:
        raise TopicError(text, f"{what} has {len(text)} characters; at most {MAX_ID_LENGTH} are allowed")
    for character in text:
        if character in _FORBIDDEN or not character.isprintable():
            raise TopicError(text, f"{what} may not hold {character!r}")
    return text


def node_topic(group: str, type_: MessageType, node: str, device: str | None = None) -> str:
    """Build a Sparkplug topic, checking every id.

    Raises:
        TopicError: an id may not be part of a topic, or a device is missing or too many for `type_`.
    """
    check_id(group, "group")
    check_id(node, "node")
    if type_.of_device != (device is not None):
        raise TopicError(f"{group}/{type_.value}/{node}", "device messages need a device, node messages none")
    if device is not None:
        check_id(device, "device")
    return str(NodeTopic(group, type_, node, device))


@lru_cache(maxsize=16_384)  # a fleet's topics are few, and each is heard every second
def parse(topic: str) -> NodeTopic | StateTopic | LiveTopic:
    """Parse any topic of the feed.

    Raises:
        TopicError: it is none of the four shapes, or holds an id that is not allowed.
    """
    levels = topic.split("/")
    if levels[0] == NAMESPACE:
        if len(levels) == 3 and levels[1] == "STATE":
            return StateTopic(check_id(levels[2], "host"))
        return _parse_node(topic, levels)
    if len(levels) == 4 and topic.startswith(LIVE_PREFIX + "/"):
        return LiveTopic(check_id(levels[2], "group"), check_id(levels[3], "device"))
    raise TopicError(topic, "is not a topic of the feed")


def _parse_node(topic: str, levels: list[str]) -> NodeTopic:
    if len(levels) not in (4, 5):
        raise TopicError(topic, f"has {len(levels)} levels; Sparkplug has 3, 4 or 5")
    try:
        type_ = MessageType(levels[2])
    except ValueError:
        raise TopicError(topic, f"{levels[2]!r} is not a Sparkplug message type") from None
    device = levels[4] if len(levels) == 5 else None
    if type_.of_device != (device is not None):
        raise TopicError(topic, f"{type_.value} {'needs' if type_.of_device else 'takes no'} device")
    for level, what in ((levels[1], "group"), (levels[3], "node"), (device, "device")):
        if level is not None:
            check_id(level, what)
    return NodeTopic(levels[1], type_, levels[3], device)
