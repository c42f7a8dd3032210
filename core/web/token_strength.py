"""How hard a token is to guess."""

from __future__ import annotations

from zxcvbn import zxcvbn

MIN_GUESSES = 10**12
"""Guesses that a token must withstand. Ten a minute and peer are answered, so even a thousand peers together would need
190 years. Sixteen random letters or four random words withstand 10¹⁶ and more."""

JUDGED = 32
"""Characters from the start that are looked at. What follows can only make a token harder to guess, and zxcvbn's time
grows with about the square of the length: at worst 0.3 seconds for 32 characters, and 1.6 seconds for 72."""


def is_weak(token: str) -> bool:
    """Whether a token can be guessed: words, repeats, rows of keys, dates, and what is made of them."""
    return bool(zxcvbn(token[:JUDGED])["guesses"] < MIN_GUESSES)
