"""Ask the kernel whether its clock is synchronised.

`adjtimex` says so of every time daemon (systemd-timesyncd, chrony, ntpd): they set the kernel's state, and the kernel
takes it back when the clock is set by hand or hears nothing for hours. Where the call is not allowed, as in some
containers, the file that systemd-timesyncd leaves is looked at.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

_TIME_ERROR = 5
"""What `adjtimex` returns while the clock is not synchronised."""
_TIMEX_BYTES = 512
"""More than any kernel's `struct timex` has (208 on 64 bits)."""
TIMESYNC = Path("/run/systemd/timesync")


def synchronised(timesync: Path = TIMESYNC) -> bool | None:
    """Whether the system clock is synchronised; None where nobody can tell.

    Source: adjtimex(2); systemd-timesyncd.service(8), "Files".
    """
    asked = _adjtimex()
    if asked is not None:
        # All zeros: modes = 0, so that nothing is set.
        state = int(asked(ctypes.create_string_buffer(_TIMEX_BYTES)))
        if state >= 0:
            return state != _TIME_ERROR
    if (timesync / "synchronized").exists():
        return True
    return False if timesync.is_dir() else None


@lru_cache(maxsize=1)
def _adjtimex() -> Any:
    """The C library's function; None where there is none."""
    return getattr(ctypes.CDLL(None), "adjtimex", None)
