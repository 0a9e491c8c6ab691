"""Every key of any TOML file is found on its line."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.checked_toml.locating import line_of, locate

TRICKY = '''\
# a comment with = and [table]
top = 1
"quoted key" = "a # no comment ] }"
'literal.key' = 'C:\\path\\'
dotted.key.path = true
dotted."second key" = 2  # comment

[agent]
text = """
lines = with
[brackets]
and \\""" quotes"""
after_text = 1
literal = \'\'\'
a = 'b'
\'\'\'\'\'
after_literal = 2
array = [
  1, # one
  "two, ]",
  [3, 4],
  { inner = 5, "x y" = [6] },
]
when = 1979-05-27T07:32:00Z
inline = { a.b = 1, c = "}" }

[[bus]]
id = "one"
[[bus]]
id = "two"
  [[bus.point]]
  tag = "a"
  [bus.point.more]
  deep = 1
  [[bus.point]]
  tag = "b"

[ a . "b c" . d ]
e = 1
'''


@pytest.mark.parametrize(
    ("path", "beginning"),
    [
        (("top",), "top"),
        (("quoted key",), '"quoted'),
        (("literal.key",), "'literal"),
        (("dotted", "key", "path"), "dotted.key"),
        (("dotted", "second key"), 'dotted."second'),
        (("agent",), "[agent]"),
        (("agent", "text"), "text"),
        (("agent", "after_text"), "after_text"),
        (("agent", "after_literal"), "after_literal"),
        (("agent", "array", 0), "1,"),
        (("agent", "array", 1), '"two'),
        (("agent", "array", 2, 1), "[3"),
        (("agent", "array", 3, "inner"), "{ inner"),
        (("agent", "array", 3, "x y", 0), "{ inner"),
        (("agent", "when"), "when"),
        (("agent", "inline", "a", "b"), "inline"),
        (("agent", "inline", "c"), "inline"),
        (("bus",), "[[bus]]"),
        (("bus", 1, "id"), 'id = "two"'),
        (("bus", 1, "point", 0, "more", "deep"), "deep"),
        (("bus", 1, "point", 1), "[[bus.point]]"),
        (("bus", 1, "point", 1, "tag"), 'tag = "b"'),
        (("a", "b c", "d", "e"), "e = 1"),
        (("a", "b c"), "[ a"),
    ],
)
def test_tricky_keys_are_found(path, beginning):
    line = locate(TRICKY)[path]
    assert TRICKY.splitlines()[line - 1].strip().startswith(beginning)


def test_windows_line_ends_count_as_one():
    assert locate("a = 1\r\nb = '''\r\n\r\n'''\r\nc = 2\r\n") == {("a",): 1, ("b",): 2, ("c",): 5}


def test_missing_key_is_looked_for_in_its_table():
    lines = locate(TRICKY)
    assert line_of(lines, ("bus", 1, "point", 1, "unit")) == lines["bus", 1, "point", 1]
    assert line_of(lines, ("nowhere",)) is None


def paths_of(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from paths_of(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield (*path, index)
            yield from paths_of(inner, (*path, index))


def test_every_path_of_the_tricky_document_has_a_line():
    assert set(paths_of(tomllib.loads(TRICKY))) <= set(locate(TRICKY))


keys = st.text("ab.\"'# =[]\\µ", min_size=1, max_size=4)
texts = st.text("ab\"'\\#\n ]}=,", max_size=8)


def as_toml(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def written(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", \n".join(map(written, value)) + "]"
    return as_toml(value) if isinstance(value, str) else str(value)


flat = st.integers() | texts
values = st.recursive(
    flat,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, flat, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(keys, values, max_size=5), st.lists(st.dictionaries(keys, values, max_size=3), max_size=3))
def test_every_path_of_any_document_has_a_line(top, tables):
    top.pop("t", None)
    text = "".join(f"{as_toml(key)} = {written(value)}\n" for key, value in top.items())
    for table in tables:
        text += "[[t]]\n" + "".join(f"{as_toml(key)} = {written(value)}\n" for key, value in table.items())
    document = tomllib.loads(text)
    lines = locate(text)
    assert set(paths_of(document)) <= set(lines)
    last = 0
    for key in top:
        assert lines[(key,)] > last
        last = lines[(key,)]
