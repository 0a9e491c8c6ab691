"""Which line of a TOML file holds which key; `tomllib` does not tell.

`locate(text)` walks over text that `tomllib` has accepted already, so it need not judge it, only find keys. Every
key path of the parsed document, with indices for arrays, maps to the line on which its key (or its table's header,
or its array element) begins. Used by `reading.py` to say where a problem is.

Source: TOML 1.0.0.
"""

from collections.abc import Mapping

from lms_protocol.checked_toml.findings import KeyPath

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\", "e": "\x1b"}
_BARE_END = frozenset(" \t.=]\r\n#,}")


def locate(text: str) -> dict[KeyPath, int]:
    """Map every key path of valid TOML to its line, counted from 1."""
    return _Locator(text.replace("\r\n", "\n")).run()


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, or of its nearest parent that the file has."""
    for length in range(len(path), 0, -1):
        line = lines.get(path[:length])
        if line is not None:
            return line
    return None


class _Locator:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}  # arrays of tables: how many elements so far

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip_blank(newlines=True)
            character = self._peek()
            if not character:
                return self._lines
            if character == "[":
                table = self._header()
            else:
                self._pair(table)

    # tables and keys

    def _header(self) -> KeyPath:
        line = self._line
        is_array = self._text.startswith("[[", self._at)
        self._advance(2 if is_array else 1)
        keys = self._keys()
        self._advance(2 if is_array else 1)
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._into_last((*path, key))
            self._lines.setdefault(path, line)
        path = (*path, keys[-1])
        if is_array:
            self._lines.setdefault(path, line)
            index = self._elements.get(path, 0)
            self._elements[path] = index + 1
            path = (*path, index)
        self._lines.setdefault(path, line)
        return path

    def _into_last(self, path: KeyPath) -> KeyPath:
        """A header below an array of tables means its last element."""
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: KeyPath) -> None:
        line = self._line
        path = table
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._advance(1)  # =
        self._skip_blank()
        self._value(path)

    def _keys(self) -> list[str]:
        """A dotted key, up to the `=` or `]` behind it."""
        keys = []
        while True:
            self._skip_blank()
            keys.append(self._key())
            self._skip_blank()
            if self._peek() != ".":
                return keys
            self._advance(1)

    def _key(self) -> str:
        if self._peek() in "\"'":
            return self._string()
        start = self._at
        while self._peek() and self._peek() not in _BARE_END:
            self._at += 1
        return self._text[start : self._at]

    # values

    def _value(self, path: KeyPath) -> None:
        character = self._peek()
        if character in ('"', "'"):
            self._string()
        elif character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        else:
            while self._peek() and self._peek() not in ",]}#\n":
                self._at += 1

    def _array(self, path: KeyPath) -> None:
        self._advance(1)
        index = 0
        while True:
            self._skip_blank(newlines=True)
            character = self._peek()
            if character in ("]", ""):
                self._advance(1)
                return
            if character == ",":
                self._advance(1)
                continue
            self._lines.setdefault((*path, index), self._line)
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._advance(1)
        while True:
            self._skip_blank(newlines=True)
            character = self._peek()
            if character in ("}", ""):
                self._advance(1)
                return
            if character == ",":
                self._advance(1)
                continue
            self._pair(path)

    def _string(self) -> str:
        """Skip a string of any of the four kinds and return what it says (enough of it for a key)."""
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            return self._multi_line_string(quote)
        self._advance(1)
        characters = []
        while (character := self._peek()) not in (quote, ""):
            if character == "\\" and quote == '"':
                characters.append(self._escape())
            else:
                characters.append(character)
                self._advance(1)
        self._advance(1)
        return "".join(characters)

    def _multi_line_string(self, quote: str) -> str:
        self._advance(3)
        start = self._at
        while self._peek() and not self._text.startswith(quote * 3, self._at):
            self._advance(2 if self._peek() == "\\" and quote == '"' else 1)
        content = self._text[start : self._at]
        self._advance(3)
        while self._peek() == quote:  # up to two quotes may stand before the closing three
            self._advance(1)
        return content

    def _escape(self) -> str:
        mark = self._text[self._at + 1]
        digits = {"u": 4, "U": 8, "x": 2}.get(mark)
        if digits is None:
            self._advance(2)
            return _ESCAPES.get(mark, mark)
        code = self._text[self._at + 2 : self._at + 2 + digits]
        self._advance(2 + digits)
        return chr(int(code, 16))

    # characters

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _advance(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _skip_blank(self, *, newlines: bool = False) -> None:
        while character := self._peek():
            if character == "#":
                while self._peek() not in ("\n", ""):
                    self._at += 1
            elif character in " \t" or (newlines and character in "\r\n"):
                self._advance(1)
            else:
                return
