"""The app with slow training while a file exists, so that runs make progress but do not finish.

Calibrations are known at once: each would train for a second beside the pages, and have its form drawn again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import streamlit as st
from torch import Tensor

from app import ACCESS, at, doors, lifespan
from core.forecast import calibration
from core.forecast.calibration import Calibration
from core.training.bank.bank import Bank
from core.web import downloads

SLOW = Path(os.environ["LORA_LAB_HOME"]) / "slow"
PAUSE = 0.25
"""Seconds to wait after each chunk of steps; training then shrinks its chunks to one step."""

_advance = Bank.advance


def _slowly(bank: Bank, rows: Tensor) -> Tensor:
    losses = _advance(bank, rows)
    end = time.monotonic() + PAUSE
    while SLOW.exists() and time.monotonic() < end:
        time.sleep(0.02)
    return losses


Bank.advance = _slowly  # type: ignore[method-assign]
calibration.calibrate = lambda *_: Calibration(step=0.01, image=0.0, steady=True)

# Streamlit searches the source of this file for this assignment.
app = st.App(
    Path(__file__).parents[2] / "pages" / "shell.py",
    lifespan=lifespan,
    middleware=doors(ACCESS),
    routes=downloads.routes(at),
)
