"""One key per purpose, all from the one secret key, so that what one of them signs proves nothing to another."""

import hashlib
import hmac


def derive_key(secret_key: str, purpose: str) -> bytes:
    """A 32-byte key for `purpose`: HMAC-SHA256 of it under the secret key."""
    return hmac.digest(secret_key.encode(), f"lms-evo {purpose}".encode(), hashlib.sha256)
