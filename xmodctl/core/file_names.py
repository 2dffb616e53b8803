"""Names of files that are made of other names, which may be long."""

import hashlib

LONGEST = 120
"""Bytes of such a name: file systems allow 255 for all parts of a file's name together."""
DIGITS = 12
"""Hexadecimal digits of the hash that takes the place of what is cut."""


def fitting_name(name: str) -> str:
    """Return a name as a part of a file's name: the end of a long one gives way to a hash of the whole."""
    written = name.encode()
    if len(written) <= LONGEST:
        return name
    kept = written[: LONGEST - DIGITS - 1].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(written).hexdigest()[:DIGITS]}"
