"""Which passwords are allowed: long ones that nobody guesses first. No rule on kinds of characters, no expiry.

Source: NIST SP 800-63B-4, section 3.1.1.2: at least 15 characters where the password is the only factor, at least 64
allowed, compared with a list of common ones and with words of the context.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from lms_cloud.kernel.errors import Invalid

MIN_LENGTH = 15
MAX_LENGTH = 256
_MIN_WORD = 4
_MIN_REST = 8
_HIDDEN = "(not shown)"
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjklyxcvbnm")


def check_password(password: str, *, context: Iterable[str] = (), field: str = "password") -> None:
    """Accept `password` or say why not.

    Args:
        password: as typed.
        context: words that are guessed first for this user: address, name, organization.
        field: what the client calls it.

    Raises:
        Invalid: it is too short, too long, common, regular, or made of a word of the context.
    """
    length = len(unicodedata.normalize("NFKC", password))
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise Invalid(field, f"{length} characters", f"{MIN_LENGTH} to {MAX_LENGTH} characters, such as a few words")
    words = _letters(password)
    if words in common_passwords() or _core(password) in common_passwords():
        raise Invalid(field, _HIDDEN, "a password that is not among the most common ones")
    if _is_regular(words):
        raise Invalid(field, _HIDDEN, "a password that is no repetition and no row of keys")
    own = {_letters(word) for word in _split(context)}
    if _core(password) in own or (own and len(_without(words, own)) < _MIN_REST):
        raise Invalid(field, _HIDDEN, "a password that is not made of your name, address or organization")


@cache
def common_passwords() -> frozenset[str]:
    """The bundled list of common passwords, in lower case, without blanks and punctuation."""
    text = files("lms_cloud.accounts").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(_letters(word) for line in lines for word in line.split())


def _letters(text: str) -> str:
    """`text` without what people add to get past rules: case, blanks, punctuation."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def _core(text: str) -> str:
    """The word within: no digits around it, and once where it is repeated ("1Password!Password!99" → "password")."""
    core = re.sub(r"^\d+|\d+$", "", _letters(text))
    return _period(core)


def _period(text: str) -> str:
    """The shortest piece whose repetition gives `text`, a cut last repetition included."""
    for length in range(1, len(text) // 2 + 1):
        piece = text[:length]
        if (piece * (len(text) // length + 1))[: len(text)] == text:
            return piece
    return text


def _is_regular(letters: str) -> bool:
    if len(_period(letters)) <= 3 or len(set(letters)) <= 4:
        return True
    period = _period(letters)
    return any(period in row * 3 or period in row[::-1] * 3 for row in _ROWS)


def _split(context: Iterable[str]) -> set[str]:
    """The words of the context, and each whole, as far as they are long enough to matter."""
    words = {part for text in context for part in (text, *re.split(r"[\W_]+", text))}
    return {word for word in words if len(_letters(word)) >= _MIN_WORD}


def _without(letters: str, words: Iterable[str]) -> str:
    """What is left of the password once the words are taken out, the longest first."""
    for word in sorted(words, key=len, reverse=True):
        letters = letters.replace(word, "")
    return letters
