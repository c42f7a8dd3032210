"""Attention of DeBERTa, whose linear layers also project relative positions, which are no rows of the batch.

Positions are the same for all rows until adapters project them. So the scores of queries and keys with positions are
computed for each adapter of a batch, for its rows only; the base's product with the positions is computed once.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from core.serving.rows import Places

SCORES = ("disentangled_attention_bias", "disentangled_att_bias")
"""Names of the method that computes these scores, in DeBERTa-v2 and in DeBERTa."""


class PositionScores:
    """The scores of queries and keys with relative positions in one attention, by adapter."""

    def __init__(self, attention: nn.Module, method: str, places: Places) -> None:
        """Args:
        attention: whose method is replaced.
        method: one of :data:`SCORES`.
        places: has the adapters of the batch.
        """
        self._own = getattr(attention, method)
        self._places = places
        setattr(attention, method, self)

    def __call__(self, query: Tensor, key: Tensor, *rest: Any) -> Any:
        """Args: query, key: with the rows of the batch, or rows times heads, as first dimension; rest: positions."""
        selected = self._places.selected
        if selected is None:
            return self._own(query, key, *rest)
        with self._places.parallel():
            scores = self._own(query, key, *rest)
            if not isinstance(scores, Tensor):  # zero, where attention reads no positions
                return scores
            by_row, queries, keys = (each.view(selected.batch, -1, *each.shape[1:]) for each in (scores, query, key))
            for number, rows in selected.groups.items():
                self._places.select([number])
                own = self._own(queries[rows].flatten(0, 1), keys[rows].flatten(0, 1), *rest)
                by_row[rows] = own.view(len(rows), *by_row.shape[1:])
            return scores


def compute_positions_by_adapter(network: nn.Module, places: Places) -> None:
    """Replace the scores with positions of every attention of DeBERTa, in place; other networks stay as they are."""
    for module in network.modules():
        for method in SCORES:
            if hasattr(module, method):
                PositionScores(module, method, places)
