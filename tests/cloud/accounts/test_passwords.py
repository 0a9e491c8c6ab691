"""Passwords: nothing is cut off, common and regular ones are refused, and there is no other rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lms_cloud.accounts.password_rules import check_password, common_passwords
from lms_cloud.accounts.passwords import ROUNDS, PasswordHasher, prehash
from lms_cloud.kernel.errors import Invalid


def test_bcrypt_has_twelve_rounds() -> None:
    assert ROUNDS == 12


async def test_hash_verifies_its_password_and_no_other() -> None:
    hasher = PasswordHasher(rounds=4)
    stored = await hasher.hash("correct horse, wrong battery")
    assert stored.startswith("$2b$04$")
    assert await hasher.verify("correct horse, wrong battery", stored)
    assert not await hasher.verify("correct horse, wrong batterz", stored)
    assert not await hasher.verify("correct horse, wrong battery", None)


async def test_characters_beyond_72_bytes_count() -> None:
    hasher = PasswordHasher(rounds=4)
    long = "ü" * 60 + "a"
    stored = await hasher.hash(long)
    assert await hasher.verify(long, stored)
    assert not await hasher.verify("ü" * 60 + "b", stored)


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_different_passwords_have_different_prehashes(one: str, two: str) -> None:
    import unicodedata

    same = unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", two)
    assert (prehash(one) == prehash(two)) is same
    assert len(prehash(one)) == 44
    assert b"\x00" not in prehash(one)


@settings(max_examples=50)
@given(st.text(min_size=70, max_size=250), st.integers(0, 249))
def test_every_character_counts(password: str, position: int) -> None:
    position %= len(password)
    other = password[:position] + ("a" if password[position] != "a" else "b") + password[position + 1 :]
    import unicodedata

    if unicodedata.normalize("NFKC", password) != unicodedata.normalize("NFKC", other):
        assert prehash(password) != prehash(other)


@pytest.mark.parametrize("password", ["", "short", "fourteen chars"])
def test_fewer_than_fifteen_characters_are_refused(password: str) -> None:
    with pytest.raises(Invalid, match="15 to 256"):
        check_password(password)


@pytest.mark.parametrize(
    "password",
    [
        "fifteen letters",
        "zwölf mäßige Bäume",
        "пароль из слов",
        "四つの言葉で作る長い合言葉です",
        "k" * 3 + "ü" * 3 + "x9 y8 z7" + "ß" * 50,
    ],
)
def test_long_enough_unicode_is_accepted(password: str) -> None:
    if len(password) < 15:
        password = password + "!" * (15 - len(password))
    check_password(password)


def test_sixty_four_characters_are_accepted() -> None:
    check_password("Die Hefe gärt bei dreißig Grad und keiner sieht ihr dabei zu, 64"[:64])


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "Password1234567",
        "P-a-s-s-w-o-r-d-1-2-3-4-5",
        "qwertyuiopasdfgh",
        "123456789012345",
        "aaaaaaaaaaaaaaaa",
        "abcdefghijklmnop",
        "iloveyouiloveyou",
        "111111111111111",
        "correct horse battery staple",
        "1q2w3e4r5t6y7u8i9o0p",
        "987654321098765",
        "bioreactor2026!!!",
        "changemechangeme",
        "ababababababababab",
    ],
)
def test_common_and_regular_passwords_are_refused(password: str) -> None:
    with pytest.raises(Invalid):
        check_password(password)


def test_names_of_organization_and_user_are_refused() -> None:
    context = ["Green Fermentation Works", "ana.kowalska@greenferm.example"]
    for password in (
        "GreenFermentationWorks",
        "green fermentation works 2026",
        "ana.kowalska@greenferm",
        "anakowalska12345",
    ):
        with pytest.raises(Invalid, match="not made of your name"):
            check_password(password, context=[*context, *context[1].split("@")])
    check_password("ana feeds the yeast at night", context=context)


def test_no_composition_rule() -> None:
    for password in ("only small letters here", "ONLY LARGE LETTERS HERE", "8413 9920 4471 0352 6"):
        check_password(password)


def test_refusal_never_shows_the_password() -> None:
    with pytest.raises(Invalid) as refusal:
        check_password("passwordpassword")
    assert "passwordpassword" not in str(refusal.value)


def test_bundled_list_has_hundreds() -> None:
    assert len(common_passwords()) > 500


@pytest.mark.parametrize(
    ("password", "status"),
    [("x" * 14, 422), ("passwordpassword", 422), ("fifteen letters", 201), ("ünïcödé " * 8, 201)],
)
async def test_registration_applies_the_rules(client, password: str, status: int) -> None:
    answer = await client.post("/auth/register", json={"email": "cy@example.org", "password": password})
    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["errors"][0]["field"] == "password"
        assert password not in answer.text
