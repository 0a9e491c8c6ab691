"""Which tags are made from which: where one is not read, the others have no readings either.

Neighbours: `processing.py` puts them into gap records; `lms_agent.app` takes open gaps over with them.
"""

from collections.abc import Collection, Iterable, Mapping

from lms_agent.settings.companions import companion_tags
from lms_agent.settings.derived import Key, in_order
from lms_agent.settings.model import AgentSettings


def followers(settings: AgentSettings, numbers: Mapping[Key, int]) -> dict[int, tuple[int, ...]]:
    """The tags that are made from each tag, directly or not, by number; only of tags that have any."""
    sources: dict[int, set[int]] = {}
    for key, point, _ in settings.measured():
        for tag in companion_tags(key[0], point):
            sources[numbers[tag.device, tag.name]] = {numbers[key]}
    for derived in in_order(settings.derived):
        inputs = [numbers[derived.bioreactor, tag] for tag in derived.parsed.tags]
        found = set(inputs).union(*(sources.get(tag, ()) for tag in inputs))
        sources[numbers[derived.bioreactor, derived.tag]] = found
    following: dict[int, list[int]] = {}
    for number, found in sources.items():
        for source in found:
            following.setdefault(source, []).append(number)
    return {source: tuple(sorted(tags)) for source, tags in following.items()}


def with_followers(tags: Iterable[int], following: Mapping[int, Collection[int]]) -> tuple[int, ...]:
    """These tags, and behind them all that are made from them."""
    tags = tuple(tags)
    made = {each for tag in tags for each in following.get(tag, ())} - set(tags)
    return (*tags, *sorted(made))
