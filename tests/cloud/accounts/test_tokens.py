"""Access tokens: each forged one is refused with 401, whatever is wrong with it."""

import base64
import json
from uuid import uuid4

import pytest
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey
from lms_cloud.accounts.tokens import AccessTokens
from lms_cloud.kernel.errors import Unauthenticated


@pytest.fixture
def tokens(settings, clock) -> AccessTokens:
    return AccessTokens(settings, clock)


@pytest.fixture
def claims(tokens, clock) -> dict:
    now = int(clock.now().timestamp())
    return {
        "iss": "https://lms.example.org",
        "aud": "lms-cloud-api",
        "sub": str(uuid4()),
        "sid": str(uuid4()),
        "iat": now,
        "nbf": now,
        "exp": now + 900,
    }


def sign(tokens: AccessTokens, header: dict, claims: dict) -> str:
    """A token signed with the real key."""
    payload = json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=["HS256", "HS512"], strict_check_header=False)
    return jws.serialize_compact({**tokens._header, **header}, payload, tokens._key, registry=registry)


def part(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_good_token_is_read(tokens, claims) -> None:
    found = tokens.read(sign(tokens, {}, claims))
    assert (str(found.user_id), str(found.session_id)) == (claims["sub"], claims["sid"])
    user_id, session_id = uuid4(), uuid4()
    assert tokens.read(tokens.issue(user_id, session_id)) == (user_id, session_id)


def test_unsigned_token_is_refused(tokens, claims) -> None:
    for algorithm in ("none", "None", "NONE"):
        header = part({**tokens._header, "alg": algorithm})
        for signature in ("", "AAAA"):
            with pytest.raises(Unauthenticated):
                tokens.read(f"{header}.{part(claims)}.{signature}")


def test_token_of_another_algorithm_is_refused(tokens, claims) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(sign(tokens, {"alg": "HS512"}, claims))
    rsa = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "typ": "at+jwt", "kid": tokens._header["kid"]}
    with pytest.raises(Unauthenticated):
        tokens.read(jwt.encode(header, claims, rsa, algorithms=["RS256"]))
    # RS→HS: signed with HMAC under a public key that the attacker knows.
    public = OctKey.import_key(rsa.as_pem(private=False).replace(b"-----", b"").replace(b"\n", b""))
    with pytest.raises(Unauthenticated):
        tokens.read(jwt.encode({**header, "alg": "HS256"}, claims, public, algorithms=["HS256"]))


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another-api"},
        {"iss": "https://elsewhere.example.org"},
        {"aud": None},
        {"iss": None},
        {"sub": None},
        {"sid": None},
        {"exp": None},
        {"nbf": None},
        {"sub": "not a uuid"},
        {"sub": 5},
    ],
)
def test_token_with_wrong_or_missing_claim_is_refused(tokens, claims, change) -> None:
    altered = {key: value for key, value in {**claims, **change}.items() if value is not None}
    with pytest.raises(Unauthenticated):
        tokens.read(sign(tokens, {}, altered))


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "refresh+jwt"}, {"kid": "0123456789abcdef"}])
def test_token_of_another_type_or_key_is_refused(tokens, claims, header) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(sign(tokens, header, claims))


def test_expired_and_not_yet_valid_tokens_are_refused(tokens, claims) -> None:
    now = claims["iat"]
    for change in ({"exp": now}, {"exp": now - 1}, {"nbf": now + 1}, {"exp": "soon"}):
        with pytest.raises(Unauthenticated):
            tokens.read(sign(tokens, {}, {**claims, **change}))


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/keys"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://evil.example/cert"},
        {"crit": ["exp"]},
        {"crit": ["unheard-of"], "unheard-of": 1},
        {"b64": False, "crit": ["b64"]},
    ],
)
def test_token_that_names_keys_or_demands_extensions_is_refused(tokens, claims, header) -> None:
    encoded = part({**tokens._header, **header})
    with pytest.raises(Unauthenticated):
        tokens.read(resigned(tokens, f"{encoded}.{part(claims)}"))


def resigned(tokens: AccessTokens, signing_input: str) -> str:
    """The signing input with a signature that the real key gives: only the header is wrong."""
    import hashlib
    import hmac

    key = base64.urlsafe_b64decode(tokens._key.as_dict(private=True)["k"] + "==")
    signature = hmac.digest(key, signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_resigned_helper_gives_good_tokens(tokens, claims) -> None:
    assert str(tokens.read(resigned(tokens, f"{part(tokens._header)}.{part(claims)}")).user_id) == claims["sub"]


@pytest.mark.parametrize("garbage", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "ü.ü.ü", "A" * 5000, "e30.e30.e30"])
def test_garbage_is_refused(tokens, garbage) -> None:
    with pytest.raises(Unauthenticated):
        tokens.read(garbage)


async def test_refused_token_answers_401_with_a_challenge(client) -> None:
    answer = await client.get("/api/v1/auth/me", headers={"Authorization": "Bearer a.b.c"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
