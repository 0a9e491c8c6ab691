"""Good documents of TOML, changed at random: values replaced by others, or taken away."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inner, (*path, key))


def changes(good: Mapping[str, Any], *, words: list[str], keys: list[str]) -> st.SearchStrategy[Any]:
    """The name of one of the documents `good`, and one to three changes; `words` and `keys` are in new values, too."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
        | st.sampled_from(words),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner),
        max_leaves=6,
    )  # fmt: skip

    def changes_of(name: str) -> st.SearchStrategy[Any]:
        change = st.tuples(st.sampled_from(list(_paths(good[name]))), values | st.just(KeyError))
        return st.tuples(st.just(name), st.lists(change, min_size=1, max_size=3))

    return st.sampled_from(sorted(good)).flatmap(changes_of)


def changed(good: Mapping[str, Any], drawn: tuple[str, list[tuple[Path, Any]]]) -> Any:
    """A copy of the document that was drawn, changed."""
    name, found = drawn
    document = deepcopy(good[name])
    for path, value in found:
        here = document
        try:
            for step in path[:-1]:
                here = here[step]
            if value is KeyError:
                del here[path[-1]]
            else:
                here[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    return document
