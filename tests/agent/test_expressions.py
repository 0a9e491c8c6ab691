"""Expressions are checked whole before they are used, and nothing in them is run as Python."""

import math

import pytest
from lms_agent.expressions import ExpressionError, parse

VALUES = {"a": 2.0, "b": 3.0, "pH/PV": 7.0, "DO/PV [%]": 40.0, "on": True, "off": False}


def value(text):
    expression = parse(text)
    return expression.value([VALUES[tag] for tag in expression.tags])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a}", 2.0),
        ("{a} + {b} * 2", 8.0),
        ("-{a} ** 2", -4.0),
        ("({a} + {b}) / 2", 2.5),
        ("{DO/PV [%]} * 0.01 * {a}", 0.8),
        ("{ a } - {a}", 0.0),
        ("min({a}, {b}, 1) + max({a}, {b})", 4.0),
        ("abs(-{a}) + sqrt(4) + exp(0) + log10(100) + log(1)", 7.0),
        ("{a} if {on} else {b}", 2.0),
        ("{a} if {off} else {b}", 3.0),
        ("6.8 < {pH/PV} < 7.2", True),
        ("6.8 < {pH/PV} < 6.9", False),
        ("{on} and not {off}", True),
        ("{off} or {a} == 2", True),
        ("{a} >= {b}", False),
        ("10 ** ({a} * 200)", None),
        ("{a} / ({b} - 3)", None),
        ("sqrt(-{a})", None),
        ("(-{a}) ** 0.5", None),
        ("log({a} - 2)", None),
        ("{a}\n + {b}", 5.0),
    ],
)
def test_value(text, expected):
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_infinity_is_a_value_and_flagged_by_others():
    expression = parse("{a} * 2")
    assert expression.value([math.inf]) == math.inf
    assert math.isnan(expression.value([math.nan]))


def test_each_tag_is_named_once_in_the_order_of_the_text():
    expression = parse("{b} + {a} * {b}")
    assert expression.tags == ("b", "a")
    assert expression.truths == frozenset()
    assert parse("{b} < 1 and {on}").truths == {"on"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{a} +",
        "{a",
        "a}",
        "a + {b}",
        "tag_0 + {b}",
        "tag_7 + {b}",
        "ｔag_0 + {b}",
        "{a} + 'text'",
        "{a} + True",
        "__import__('os').system('true') + {a}",
        "{a}.real",
        "{a}[0]",
        "(lambda: {a})()",
        "[{a} for x in (1,)]",
        "print({a})",
        "abs",
        "abs({a}, {b})",
        "min({a})",
        "max(*{a})",
        "round(number={a})",
        "{a} // {b}",
        "{a} % {b}",
        "{a} @ {b}",
        "{a} << 2",
        "~{a}",
        "{a} is {b}",
        "{a} in ({b},)",
        "not {a} + 1",
        "({a} < 1) + 1",
        "{a} and {a} < 1",
        "{on} if {off} else {off}",
        "{a} if {b} + 1 else 0",
        "1 if {a} < 1 else {b} < 2",
        "{a} + 1e999",
        "{a} + " + "1" * 400,
        "{a} := 1",
        "(x := {a})",
        "{a}; {b}",
        "yield {a}",
        "await {a}",
        "f'{a}'",
        "{a} + 1j",
        "+" * 200 + "{a}",
        "-" * 200 + "{a}",
        "(" * 100 + "{a}" + ")" * 100 + "(",
        "{a} + " * 100 + "{a}",
    ],
)
def test_everything_else_is_refused_with_words(text):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.found
    assert caught.value.allowed
    assert "tag_" not in caught.value.found or "tag_" in text or "ｔag" in text


def test_what_is_refused_is_shown_as_it_was_written():
    with pytest.raises(ExpressionError, match=r"^\{pH/PV\} % 2; allowed: a number here"):
        parse("1 + {pH/PV} % 2")
