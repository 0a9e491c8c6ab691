"""Text can be read in both themes: contrast as WCAG 2.2 AA asks (4.5 : 1 for text, 3 : 1 for lines and marks)."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

GROUNDS = ("--ground", "--panel", "--well")
TEXT = [
    *((ink, ground) for ink in ("--ink", "--ink-soft", "--accent", "--urgent", "--warn") for ground in GROUNDS),
    ("--ink", "--warn-ground"),
    ("--ink", "--urgent-ground"),
    ("--warn", "--warn-ground"),
    ("--urgent", "--urgent-ground"),
    ("--accent", "--accent-ground"),
    ("--on-accent", "--accent"),
    ("--bar-ink", "--bar"),
    ("--bar-ink-soft", "--bar"),
]
MARKS = [
    *((f"--trace-{k}", "--well") for k in range(1, 9)),
    *(("--rule-strong", ground) for ground in GROUNDS),
]
PROBE = """([ink, ground]) => {
  const probe = document.createElement("p");
  document.body.append(probe);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  return [ink, ground].map((name) => {
    probe.style.color = `var(${name})`;
    canvas.fillStyle = getComputedStyle(probe).color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  });
}"""


def luminance(colour: list[int]) -> float:
    parts = [c / 255 for c in colour]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[int], other: list[int]) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_in_both_themes(blank: Callable[..., Page], static_url: str, scheme: str) -> None:
    page = blank(scheme=scheme)
    page.add_style_tag(url=f"{static_url}/css/tokens.css")
    wanted = [(pair, 4.5) for pair in TEXT] + [(pair, 3.0) for pair in MARKS]
    found = {pair: (contrast(*page.evaluate(PROBE, list(pair))), least) for pair, least in wanted}
    weak = {pair: f"{ratio:.2f} of {least}" for pair, (ratio, least) in found.items() if ratio < least}
    assert weak == {}
