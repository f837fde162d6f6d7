"""Draws that depend on what is drawn for alone: the same on every machine, in every run, in any order."""

import hashlib


def hash_to_share(key: bytes) -> float:
    """Returns a number in [0, 1) for a key; over many keys they are uniform."""
    # 53 bits: all that a float between 0 and 1 can tell apart.
    return (int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 11) / (1 << 53)
