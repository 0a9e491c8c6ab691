"""Access tokens (JWT) for API clients. Each hangs on a session, so ending the session ends the token too.

The algorithm, type and key id are fixed; a header that says anything else, or more, is refused before its claims are
looked at. That closes `none`, RS→HS, jku/jwk/x5u and crit together.
"""

import hashlib
from typing import NamedTuple
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry

from lms_cloud.kernel.clock import Clock
from lms_cloud.kernel.errors import Unauthenticated
from lms_cloud.kernel.keys import derive_key
from lms_cloud.kernel.settings import CloudSettings

ALGORITHM = "HS256"
TYPE = "at+jwt"
AUDIENCE = "lms-cloud-api"
_MAX_LENGTH = 2048


class TokenClaims(NamedTuple):
    """What a valid access token says."""

    user_id: UUID
    session_id: UUID


class AccessTokens:
    """Issues and reads access tokens."""

    def __init__(self, settings: CloudSettings, clock: Clock) -> None:
        key = derive_key(settings.require_secret_key(), "access token v1")
        self._key = OctKey.import_key(key)
        self._header = {"alg": ALGORITHM, "typ": TYPE, "kid": hashlib.sha256(key).hexdigest()[:16]}
        self._issuer = settings.public_url
        self._clock = clock
        self.lifetime_s = settings.access_token_s

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        """A token that lets `user_id` in for `lifetime_s`, as long as the session lasts."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime_s,
        }
        return jwt.encode(dict(self._header), claims, self._key, algorithms=[ALGORITHM])

    def read(self, token: str) -> TokenClaims:
        """What `token` says.

        Raises:
            Unauthenticated: it is not one of ours, altered, not yet or no longer valid.
        """
        if len(token) > _MAX_LENGTH:
            raise Unauthenticated
        registry = JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=0,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            sid={"essential": True},
            exp={"essential": True},
            nbf={"essential": True},
        )
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
            if decoded.header != self._header:
                raise Unauthenticated
            registry.validate(decoded.claims)
            return TokenClaims(UUID(decoded.claims["sub"]), UUID(decoded.claims["sid"]))
        except (JoseError, ValueError, TypeError, AttributeError) as error:
            raise Unauthenticated from error
