"""What an Alicat's data frame holds: the table that it answers to `??D*`, and frames read by it.

    A D00 ID_ NAME______________________ TYPE_______ WIDTH NOTES___________________
    A D02 002 Abs Press                  s decimal     7/2 010 02 PSIA
    A D06 037 Mass Flow Setpt            s decimal     7/2 012 02 SCCM
    A D07 703 Gas                        string          6
    A D09 702 *Status                    string          3 MOV

    A  D00 NAME_______ TYPE_____ MinVal_  MaxVal_  UNITS__              (firmware 5 and older)
    A  D05 Mass        signed    +0000.0  +0500.0     SCCM

    A +014.62 +025.50 +050.00 +048.10 +050.00    Air MOV

Used by `alicat.py`.

Source: Alicat, Serial Communications Primer, and captures of firmware 8v17, 10v04 and 10v20.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lms_protocol.reading import Quality

_ROW = re.compile(
    rb"(?P<unit>[A-Z]) D(?P<row>\d\d) (?P<code>\d{3}) (?P<name>[ -~]{1,26}?) +"
    rb"(?P<type>s decimal|decimal|string|[a-z]+) +(?P<width>\d+)(?:/(?P<decimals>\d+))?(?: (?P<notes>[^\n]*))?"
)
_OLD_ROW = re.compile(
    rb"(?P<unit>[A-Z]) +D(?P<row>\d\d) (?P<name>[ -~]{1,16}?) +(?P<type>[a-z]+) +"
    rb"(?P<low>[!-~]+) +[!-~]+ +(?P<label>[!-~]+)"
)
_NAMES = {
    "abs press": "pressure", "gauge press": "pressure", "press": "pressure", "pressure": "pressure",
    "flow temp": "temperature", "temperature": "temperature", "temp": "temperature",
    "volu flow": "volumetric_flow", "volumetric": "volumetric_flow", "mass flow": "mass_flow", "mass": "mass_flow",
    "setpoint": "set_point", "gas": "gas",
}  # fmt: skip
UNITS = {
    "`C": ("°C", "C"), "°C": ("C",), "C": ("°C",), "F": ("°F",),
    "`F": ("°F", "F"), "PSIA": ("psi",), "PSIG": ("psi",), "PSI": ("psi",), "BARA": ("bar",),
    "LPM": ("L/min", "l/min"), "CCM": ("mL/min", "ml/min", "cm³/min"),
    "SLPM": ("L/min", "l/min", "SL/min", "sL/min"), "SCCM": ("mL/min", "ml/min", "SmL/min"),
    "NLPM": ("L/min", "l/min", "NL/min"), "NCCM": ("mL/min", "ml/min", "NmL/min"),
}  # fmt: skip
"""Labels of the instrument, and how else they may be written in a configuration."""

_NOT_IN_FRAMES = ("unit id", "error", "status")
_CONCERNS = {
    "MOV": ("mass_flow",), "VOV": ("volumetric_flow",), "POV": ("pressure",), "OPL": ("pressure",),
    "TOV": ("temperature",), "HLD": (), "LCK": (), "EXH": (), "TMF": (), "OVR": (), "P2O": (),
}  # fmt: skip
"""Status words, and which values they call out of range; the others tell of totals, valve and display."""
_BROKEN = "ADC"


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a frame.

    Attributes:
        field: as points name it; "" for one that no point can have.
        is_number: else it is a word.
        unit: the instrument's label; "" if it has none.
        decimals: digits after the point.
    """

    field: str
    is_number: bool
    unit: str = ""
    decimals: int = 3


USUAL = (
    *(Column(field, True) for field in ("pressure", "temperature", "volumetric_flow", "mass_flow", "set_point")),
    Column("gas", False),
)
"""The frame of a controller that cannot describe it."""


class NoLayout(ValueError):
    """The table of a frame cannot be read; the message says why."""


def layout_of(table: Iterable[bytes]) -> tuple[Column, ...]:
    """The columns of a frame behind its unit letter.

    Args:
        table: lines of the answer to `??D*`.

    Raises:
        NoLayout: a row is missing or cannot be read.
    """
    header, *lines = [line.rstrip() for line in table if line.strip()] or [b""]
    form, column_of = (_OLD_ROW, _old_column) if b"MinVal" in header else (_ROW, _column)
    columns: list[Column] = []
    for expected, line in enumerate(lines, start=1):
        row = form.fullmatch(line)
        if row is None or int(row["row"]) != expected:
            raise NoLayout(f"row {expected} of its frame's table is {line.decode('ascii', 'replace')!r}")
        name = row["name"].decode().strip().lower()
        if name.startswith("*") or name in _NOT_IN_FRAMES:
            continue
        field = "set_point" if name.endswith("setpt") else _NAMES.get(name, "")
        if any(column.field == field for column in columns):
            field = ""
        columns.append(column_of(field, row))
    if not columns:
        raise NoLayout("the table of its frame is empty")
    return tuple(columns)


def _column(field: str, row: re.Match[bytes]) -> Column:
    notes = (row["notes"] or b"").decode("latin-1").split()
    unit = notes[-1] if len(notes) >= 3 else ""
    return Column(field, row["type"] != b"string", unit, int(row["decimals"] or 0))


def _old_column(field: str, row: re.Match[bytes]) -> Column:
    label = row["label"].decode()
    is_number = row["type"] not in (b"string", b"char")
    return Column(field, is_number, "" if label == "na" else label, len(row["low"].partition(b".")[2]))


def frame_pattern(unit: str, columns: Iterable[Column]) -> re.Pattern[bytes]:
    """What a frame with these columns looks like; groups `c0`, `c1` … and `words`."""
    forms = [
        rb" +(?P<c%d>%b)" % (at, rb"[+-]?\d+(?:\.\d+)?" if column.is_number else rb"[!-~]+")
        for at, column in enumerate(columns)
    ]
    return re.compile(unit.encode() + b"".join(forms) + rb"(?P<words>(?: +[A-Z0-9]{3})*) *|(?P<error>(?:[A-Z] +)?\?)")


def fits(label: str, unit: str) -> bool:
    """Whether a point's unit is what the instrument calls `label`; a point without one takes what comes."""
    return not unit or not label or unit.casefold() == label.casefold() or unit in UNITS.get(label, ())


def quality_by(words: Iterable[str], field: str) -> Quality:
    """How far the status words of a frame let a value be trusted."""
    quality = Quality.GOOD
    for word in words:
        if word == _BROKEN:
            return Quality.BAD
        if word not in _CONCERNS or field in _CONCERNS[word]:
            quality = Quality.UNCERTAIN
    return quality
