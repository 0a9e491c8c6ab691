"""Hash and check passwords.

bcrypt with 12 rounds takes 0.3 s and looks at 72 bytes at most, so the password is hashed before (HMAC-SHA256 under a
name of our own, base64: 44 bytes, no NUL) and the work is done in a thread, a few at a time.
"""

import base64
import hashlib
import hmac
import os
import unicodedata
from functools import partial

import anyio.to_thread
import bcrypt
from anyio import CapacityLimiter

ROUNDS = 12
_CONTEXT = b"lms-evo password v1"


def prehash(password: str) -> bytes:
    """44 bytes that stand for the whole of `password`, whatever its length.

    The same characters give the same bytes however the keyboard composed them (Unicode NFKC).
    """
    text = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(_CONTEXT, text, hashlib.sha256))


class PasswordHasher:
    """Hashes and verifies in threads; at most one per processor, so that logins cannot starve everything else."""

    def __init__(self, rounds: int = ROUNDS) -> None:
        self._rounds = rounds
        self._limiter = CapacityLimiter(max(1, (os.cpu_count() or 2) - 1))
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The text to store for `password`."""
        work = partial(bcrypt.hashpw, prehash(password), bcrypt.gensalt(self._rounds))
        return (await anyio.to_thread.run_sync(work, limiter=self._limiter)).decode()

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether `stored` was made from `password`. Takes as long where `stored` is None (no such user)."""
        if self._nobody is None:
            self._nobody = await self.hash(os.urandom(16).hex())
        work = partial(bcrypt.checkpw, prehash(password), (stored or self._nobody).encode())
        return await anyio.to_thread.run_sync(work, limiter=self._limiter) and stored is not None

    async def warm_up(self) -> None:
        """Make the hash that unknown users are compared with now, so that the first of them does not take longer."""
        if self._nobody is None:
            self._nobody = await self.hash(os.urandom(16).hex())
