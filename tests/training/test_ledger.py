"""What a ledger counts: every storage once, as long as it lives, on the CPU as on ``meta``."""

from __future__ import annotations

import pytest
import torch

from core.engine.jobs.run_memory import Ledger


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_storages_are_counted_once_and_while_they_live(device: str) -> None:
    outside = torch.zeros(500, device=device)
    with Ledger([outside]) as ledger:
        a = torch.zeros(1000, device=device)
        outside.add_(1)
        views = [a.view(10, 100), a[:5], outside[:10]]
        assert ledger.live == 4000
        b = a + 1
        assert ledger.live == ledger.peak == 8000
        del a
        assert ledger.live == 8000  # its views hold it
        del views
        assert (ledger.live, ledger.peak) == (4000, 8000)
        b.set_(torch.zeros(10, device=device))
        assert (ledger.live, ledger.peak) == (40, 8000)
