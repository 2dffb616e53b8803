"""Write SentencePiece's precompiled character map: a double-array trie and the strings it points at.

The library `tokenizers` reads a normalizer in this form only (`normalizers.Precompiled`). It looks up
each grapheme of less than six bytes, then each single character, and uses the *shortest* key that the text starts with.
So only single characters and two-character compositions of at most five bytes can match.
"""

import struct
from collections import defaultdict
from collections.abc import Mapping
from itertools import count
from typing import Any
from unicodedata import normalize

_LEAF = 1 << 8
_VALUE = 1 << 31
_LONGEST_GRAPHEME = 5  # bytes


def compositions(characters: Mapping[str, str]) -> dict[str, str]:
    """Return what SentencePiece's `nmt_nfkc` adds to its map of single characters: base + mark -> composed character.

    Source: `Builder::BuildNFKCMap` of SentencePiece takes every spelling of a character's full decomposition.
    """
    spellings = defaultdict(list)
    decomposed = {}
    for code in range(0xA0, 0x3100):  # no later character decomposes into two characters of at most five bytes
        full = normalize("NFKD", chr(code))
        decomposed[code] = full
        if len(full) == 1:
            spellings[full].append(chr(code))
    composed_by = {}
    for full in decomposed.values():
        if len(full) == 2 and full[0] not in characters and len(composed := normalize("NFKC", full)) == 1:
            for mark in spellings[full[1]]:
                key = full[0] + mark
                if len(key.encode()) <= _LONGEST_GRAPHEME:
                    composed_by[key] = composed
    return composed_by


def precompile(replacements: Mapping[str, str]) -> bytes:
    """Return the map in SentencePiece's binary form: byte length of the trie, the trie, the zero-ended strings."""
    strings = bytearray()
    positions: dict[str, int] = {}
    for replacement in replacements.values():
        if replacement not in positions:
            positions[replacement] = len(strings)
            strings += replacement.encode() + b"\0"
    trie = double_array({key.encode(): positions[replacement] for key, replacement in replacements.items()})
    return struct.pack("<I", 4 * len(trie)) + struct.pack(f"<{len(trie)}I", *trie) + bytes(strings)


def double_array(values: Mapping[bytes, int]) -> list[int]:
    """Return a Darts-clone double array over byte strings.

    A node's children are at `base ^ byte`, and its value, if any, at `base`. A unit contains the byte that leads to it
    (bits 0-7), whether it has a value (bit 8), and `position ^ base` (from bit 10).
    """
    root: dict[int, Any] = {}  # byte -> node; 0 -> the value, for a key holds no zero byte
    nodes = [root]
    for key, value in values.items():
        assert key, key
        assert 0 not in key, key
        node = root
        for byte in key:
            if byte not in node:
                node[byte] = {}
                nodes.append(node[byte])
            node = node[byte]
        node[0] = value

    taken = {0}
    bases: dict[int, int] = {}  # of each node, by identity
    used: set[int] = set()
    free = 1
    for node in sorted(nodes, key=len, reverse=True):  # the widest first, so that the narrow ones fill the gaps
        while free in taken:
            free += 1
        first = next(iter(node))
        base = next(
            base
            for place in count(free)
            if place not in taken
            and (base := place ^ first) not in used
            and not any(base ^ byte in taken for byte in node)
        )
        bases[id(node)] = base
        used.add(base)
        taken.update(base ^ byte for byte in node)

    units = [0] * ((max(taken) | 255) + 1)  # complete blocks of 256, so that the lookup of any byte stays inside
    waiting = [(0, root)]
    while waiting:
        place, node = waiting.pop()
        base = bases[id(node)]
        offset = place ^ base
        assert offset < 1 << 21, offset
        units[place] |= offset << 10 | (_LEAF if 0 in node else 0)
        for byte, child in node.items():
            if byte == 0:
                units[base] = _VALUE | child
            else:
                units[base ^ byte] = byte
                waiting.append((base ^ byte, child))
    return units
