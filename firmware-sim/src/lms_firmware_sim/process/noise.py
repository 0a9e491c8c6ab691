"""Noise that is a function of seed, name and step: the same however often, and by whom, it is looked at.

Used by the instruments of the process model and by those of the bench.
"""

import hashlib
import math

_MASK = (1 << 64) - 1


def key(seed: int, name: str) -> int:
    """The key of one source of noise, from the seed and its name."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest())


def uniform(key: int, step: int) -> float:
    """A number from 0 up to, not including, 1."""
    return _mixed(key, step) / 2.0**64


def gaussian(key: int, step: int) -> float:
    """A standard normal number (Box and Muller 1958)."""
    bits = _mixed(key, step)
    radius = math.sqrt(-2.0 * math.log(((bits >> 32) + 1) / 2.0**32))
    return radius * math.cos(2.0 * math.pi * (bits & 0xFFFFFFFF) / 2.0**32)


def _mixed(key: int, step: int) -> int:
    """64 mixed bits of a key and a counter (the finalizer of SplitMix64: Steele et al., OOPSLA 2014)."""
    bits = (key + (step + 1) * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)
