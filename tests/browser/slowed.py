"""The app, with training that takes its time while a file is there: so long, a run neither ends nor stands still."""

from __future__ import annotations

import os
import time
from pathlib import Path

import streamlit as st
from torch import Tensor

from app import ACCESS, at, doors, lifespan
from core.training.bank.bank import Bank
from core.web import downloads

SLOW = Path(os.environ["LORA_LAB_HOME"]) / "slow"
PAUSE = 0.25
"""Seconds after each stretch of steps; training makes its stretches as short as it can then, a step each."""

_advance = Bank.advance


def _slowly(bank: Bank, rows: Tensor) -> Tensor:
    losses = _advance(bank, rows)
    end = time.monotonic() + PAUSE
    while SLOW.exists() and time.monotonic() < end:
        time.sleep(0.02)
    return losses


Bank.advance = _slowly  # type: ignore[method-assign]

# Streamlit looks for this line in the text of the file that it is given.
app = st.App(
    Path(__file__).parents[2] / "pages" / "shell.py",
    lifespan=lifespan,
    middleware=doors(ACCESS),
    routes=downloads.routes(at),
)
