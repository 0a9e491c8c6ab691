"""How often someone may try: per account and address, so that nobody locks another out.

The counts are kept in the process; with several web workers the limit is that of each.
"""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from lms_cloud.kernel.errors import TooManyRequests

LOGINS = RateLimitItemPerMinute(10, 15)
REGISTRATIONS = RateLimitItemPerMinute(20, 60)


class Throttle:
    """Counts attempts."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def log_in(self, email: str, address: str) -> None:
        """Count one login to `email` from `address`.

        Raises:
            TooManyRequests: there were 10 in 15 minutes that did not succeed.
        """
        self._hit(LOGINS, "logins to this account from your address", "login", email, address)

    def logged_in(self, email: str, address: str) -> None:
        """Forget the attempts: the password was right."""
        self._limiter.clear(LOGINS, "login", email, address)

    def register(self, address: str) -> None:
        """Count one registration from `address`.

        Raises:
            TooManyRequests: there were 20 in an hour.
        """
        self._hit(REGISTRATIONS, "registrations from your address", "register", address)

    def _hit(self, limit: RateLimitItemPerMinute, what: str, *key: str) -> None:
        if not self._limiter.hit(limit, *key):
            resets_at = self._limiter.get_window_stats(limit, *key).reset_time
            raise TooManyRequests(what, max(1, math.ceil(resets_at - time.time())))
