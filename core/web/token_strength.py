"""Check that a token is hard to guess."""

from __future__ import annotations

from zxcvbn import zxcvbn

MIN_GUESSES = 10**12
"""Number of guesses that a token must withstand. At ten guesses per minute and peer, a thousand peers would need
190 years. Sixteen random letters or four random words withstand 10¹⁶ and more."""

JUDGED = 32
"""Number of leading characters to check. The rest can only make a token harder to guess, and zxcvbn's time grows with
about the square of the length: at most 0.3 seconds for 32 characters, and 1.6 seconds for 72."""


def is_weak(token: str) -> bool:
    """Whether a token is easy to guess: made of words, repetitions, keyboard patterns or dates."""
    return bool(zxcvbn(token[:JUDGED])["guesses"] < MIN_GUESSES)
