"""The heads of a base: each adapter has its own, which its rows of a batch are computed by."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from core.errors import ServingError
from core.serving.rows import Places


class OwnHeads(nn.Module):
    """A module of the base's head, with those that adapters have in its place.

    A head may be any module: a linear layer, or several with activations and norms between them. So each adapter's is
    computed as it is, for the rows of that adapter.
    """

    def __init__(self, head: nn.Module, plain: nn.Module, places: Places) -> None:
        """Args:
        head: computes the rows of adapters without a head of their own.
        plain: the module of the base.
        places: the rows of each adapter.
        """
        super().__init__()
        self.head = head
        self._plain = [plain]  # in a list, so that it is no second module of the network
        self._places = places
        self._own: dict[int, nn.Module] = {}

    def put(self, number: int, state: Mapping[str, Tensor]) -> None:
        """Hold the head of an adapter. Args: number: of the adapter; state: its tensors."""
        own = copy.deepcopy(self._plain[0])
        own.load_state_dict(state)
        self._own[number] = own

    def drop(self, number: int) -> None:
        """Forget the head of an adapter."""
        self._own.pop(number, None)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(x)
        selected = self._places.selected
        if selected is None:
            return y
        if len(x) != selected.batch:
            raise ServingError("The head of this architecture reads more than the rows: load each adapter with PEFT.")
        if not self._own:
            return y
        for number, rows in selected.groups.items():
            if number in self._own:
                y.index_copy_(0, rows, self._own[number](x.index_select(0, rows)))
        return y


def state_of(head: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one module. Args: head: its path; tensors: of all modules, by their names in the network."""
    prefix = f"{head}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
