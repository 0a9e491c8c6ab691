"""Names of tags as people say them."""

import pytest
from lms_cloud.web.pages.wording import label


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pH", "pH"),
        ("DO", "DO"),
        ("AirFlow", "Air flow"),
        ("OffGasO2", "Off gas O₂"),
        ("OffGasCO2", "Off gas CO₂"),
        ("pH/Temperature", "pH temperature"),
        ("BasePumped", "Base pumped"),
        ("feed_rate", "feed rate"),
    ],
)
def test_tag_names_become_words(name: str, words: str) -> None:
    assert label(name) == words
