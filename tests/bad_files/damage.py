"""Random damage to the bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

Change = tuple[str, float, bytes]
"""How a file is changed, at which of its bytes as a share of its length, and what with."""

shares = st.floats(0, 1, exclude_max=True)
changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "repeat", "insert", "replace"]),
        shares | st.floats(0, 0.02) | shares.map(lambda share: 0.9 + share / 10),  # headers, and directories of zips
        st.binary(max_size=16),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, changes: Sequence[Change]) -> bytes:
    """The bytes of a file after some changes."""
    found = bytearray(content)
    for how, share, given in changes:
        place = int(len(found) * share)
        match how:
            case "flip" if place < len(found):
                found[place] ^= 1 << len(given) % 8
            case "cut":
                del found[place:]
            case "repeat":
                found[place:place] = found[place : place + 2 ** len(given)]
            case "insert":
                found[place:place] = given
            case "replace":
                found[place : place + len(given)] = given
    return bytes(found)


def is_cut(content: bytes, whole: bytes) -> bool:
    """Whether a file is only the beginning of the whole one."""
    return len(content) < len(whole) and whole.startswith(content)
