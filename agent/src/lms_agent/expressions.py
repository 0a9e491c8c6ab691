"""Small expressions over tags, for derived tags: `{DO/PV} * 0.01 * {Pressure/PV}`, checked whole before they are used.

    numbers          3, 0.25, 1e-3
    tags             {pH/PV}: a number, or true or false, as the tag is
    arithmetic       + - * / **, - in front, abs min max sqrt exp log log10
    comparisons      < <= > >= == !=, also in a row: 6.8 < {pH/PV} < 7.2
    true or false    and, or, not; {Pump/ON} of a tag that is on or off
    choice           a if b else c

Python's own parser reads the text, but nothing of it is run as Python: what is not in this list is refused, and each
part becomes a function. What is a number and what is true or false is known before the first reading.

Neighbours: `lms_agent.settings.derived` checks with it; `lms_agent.processing.deriving` computes.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from lms_protocol.errors import LmsError

LONGEST = 500
_DEEPEST = 30
_TAG = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDER = "tag_"
_MARKS = str.maketrans({"\r": " ", "\n": " ", "\t": " "})

Compute: TypeAlias = Callable[[Sequence[float]], float]
"""From the values of the tags, in the order of `Expression.tags`, to the value; what is true is 1 here, else 0."""

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Mapping[str, tuple[Callable[..., float], int, int]] = {
    "abs": (abs, 1, 1),
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "sqrt": (math.sqrt, 1, 1),
    "exp": (math.exp, 1, 1),
    "log": (math.log, 1, 1),
    "log10": (math.log10, 1, 1),
}
"""By name: the function, and how few and how many arguments it takes."""


class ExpressionError(LmsError):
    """A text is no expression.

    Attributes:
        found: what is wrong with it.
        allowed: what may stand there.
    """

    def __init__(self, found: str, allowed: str) -> None:
        self.found = found
        self.allowed = allowed
        super().__init__(f"{found}; allowed: {allowed}")


class Expression(NamedTuple):
    """An expression that can be computed. Made by `parse`.

    Attributes:
        text: as it was written.
        tags: those that it names, each once.
        truths: those of them that must be true or false; all others must be numbers.
        is_truth: whether its own value is true or false.
    """

    text: str
    tags: tuple[str, ...]
    truths: frozenset[str]
    is_truth: bool
    compute: Compute

    def value(self, values: Sequence[float]) -> float | bool | None:
        """The value for these values of the tags; None where it has none: a division by 0, a root of -1.

        Args:
            values: in the order of `tags`.
        """
        try:
            value = self.compute(values)
        except (ArithmeticError, ValueError):
            return None
        return bool(value) if self.is_truth else float(value)


def parse(text: str) -> Expression:
    """Check an expression whole.

    Raises:
        ExpressionError: it is none, or none that is allowed.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"{len(text)} characters", f"at most {LONGEST}; make another derived tag of a part of it")
    bare = _TAG.sub("", text)
    if not bare.isascii() or _PLACEHOLDER in bare:
        raise ExpressionError(
            "letters that have no meaning here", "tags in braces ({pH/PV}), numbers, signs, functions"
        )
    reading = _Reading()
    written = _TAG.sub(lambda match: reading.placeholder(match[1].strip()), text.translate(_MARKS)).strip()
    if "{" in written or "}" in written:
        raise ExpressionError("a brace by itself", "tags in braces: {pH/PV}")
    try:
        root = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError("text that cannot be understood", "such as {DO/PV} * 0.01 * {Pressure/PV}") from None
    is_truth = _is_truth(root)
    compute = reading.truth(root, 0) if is_truth else reading.number(root, 0)
    return Expression(text, tuple(reading.tags), frozenset(reading.truths), is_truth, compute)


def _is_truth(node: ast.expr) -> bool:
    """What a whole expression is; a tag by itself counts as a number."""
    if isinstance(node, ast.IfExp):
        return _is_truth(node.body)
    return isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


class _Reading:
    """Makes functions of the parts, and remembers which tags are used as what."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.truths: set[str] = set()
        self._numbers: set[str] = set()

    def placeholder(self, tag: str) -> str:
        """A name that Python's parser can read."""
        if tag not in self.tags:
            self.tags.append(tag)
        return f" {_PLACEHOLDER}{self.tags.index(tag)} "

    def number(self, node: ast.expr, depth: int) -> Compute:
        """The function that computes a number."""
        _check_depth(depth)
        below = depth + 1
        match node:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() | float() as value):
                constant = _finite(value)
                return lambda _: constant
            case ast.Name(id=name):
                return self._tag(name, as_truth=False)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                negated = self.number(operand, below)
                return lambda values: -negated(values)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                operate, one, other = _OPERATORS[type(op)], self.number(left, below), self.number(right, below)
                return lambda values: operate(one(values), other(values))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                return self._call(name, arguments, below)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return _choice(self.truth(test, below), self.number(body, below), self.number(orelse, below))
        raise ExpressionError(self._shown(node), "a number here: numbers, tags, + - * / **, " + " ".join(_FUNCTIONS))

    def truth(self, node: ast.expr, depth: int) -> Compute:
        """The function that computes what is true or false."""
        _check_depth(depth)
        below = depth + 1
        match node:
            case ast.Name(id=name):
                return self._tag(name, as_truth=True)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                negated = self.truth(operand, below)
                return lambda values: not negated(values)
            case ast.BoolOp(op=op, values=operands):
                parts = [self.truth(operand, below) for operand in operands]
                decide = all if isinstance(op, ast.And) else any
                return lambda values: decide(part(values) for part in parts)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARISONS for op in ops):
                return self._comparison([left, *others], [_COMPARISONS[type(op)] for op in ops], below)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return _choice(self.truth(test, below), self.truth(body, below), self.truth(orelse, below))
        raise ExpressionError(
            self._shown(node), "true or false here: comparisons, and, or, not, tags that are on or off"
        )

    def _tag(self, name: str, *, as_truth: bool) -> Compute:
        if not name.startswith(_PLACEHOLDER) or not name.removeprefix(_PLACEHOLDER).isdecimal():
            raise ExpressionError(f"the name {name}", "tags in braces: {pH/PV}")
        at = int(name.removeprefix(_PLACEHOLDER))
        if at >= len(self.tags):
            raise ExpressionError(f"the name {name}", "tags in braces: {pH/PV}")
        (self.truths if as_truth else self._numbers).add(self.tags[at])
        if self.tags[at] in self.truths & self._numbers:
            raise ExpressionError(f"{{{self.tags[at]}}} both as a number and as true or false", "one of both")
        return lambda values: values[at]

    def _call(self, name: str, arguments: list[ast.expr], depth: int) -> Compute:
        function, fewest, most = _FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise ExpressionError(f"{name} with {len(arguments)} arguments", wanted)
        parts = [self.number(argument, depth) for argument in arguments]
        return lambda values: function(*[part(values) for part in parts])

    def _comparison(self, nodes: list[ast.expr], compares: list[Callable[[float, float], bool]], depth: int) -> Compute:
        parts = [self.number(node, depth) for node in nodes]

        def compute(values: Sequence[float]) -> bool:
            sides = [part(values) for part in parts]
            return all(compare(sides[at], sides[at + 1]) for at, compare in enumerate(compares))

        return compute

    def _shown(self, node: ast.expr) -> str:
        """A part as it was written, as near as can be."""
        text = re.sub(rf"\b{_PLACEHOLDER}(\d+)\b", self._written, ast.unparse(node))
        return text if len(text) <= 60 else text[:59] + "…"

    def _written(self, match: "re.Match[str]") -> str:
        at = int(match[1])
        return f"{{{self.tags[at]}}}" if at < len(self.tags) else match[0]


def _choice(test: Compute, body: Compute, otherwise: Compute) -> Compute:
    return lambda values: body(values) if test(values) else otherwise(values)


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise ExpressionError(
            f"more than {_DEEPEST} parts within each other", "a derived tag of its own for a part of it"
        )


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ExpressionError("a number that is too large", "up to 1e308")
    return number
