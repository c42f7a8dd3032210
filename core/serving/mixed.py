"""One base that answers batches in which each row has another adapter, or none.

The linear layers of DeBERTa's attention also project relative positions, which are the same for all rows until adapters
project them. So the scores of queries and keys with positions are computed for each adapter of a batch, for its rows
only; the base's product with the positions is computed once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.adapter.read import AdapterFile, check_head, layers_of, replaceable_head
from core.data.examples import Batch
from core.errors import ServingError
from core.methods.adapted import Terms
from core.methods.linear import features, is_linear
from core.methods.targets import head_paths, is_in_head
from core.networks.file import base_fingerprint
from core.networks.forward import forward
from core.networks.network import spec_on
from core.networks.scoring import is_scored, output_layer, token_nats
from core.serving.rows import Places, Rows
from core.training.fast_network import fast

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


MAX_TOKENS = 2**14
"""Tokens of one forward pass, padding included: 32 texts of 512 tokens, as in evaluation. A thousand of these at once
would take 6 GB for a single activation of a network such as BERT."""

TRIED_ROWS = 3
"""Rows that a network is tried with: fewer than each has tokens."""


class MixedLinear(nn.Module):
    """A linear layer of the base, with the rows of all adapters that are held."""

    def __init__(self, linear: nn.Linear, places: Places) -> None:
        super().__init__()
        self.linear = linear
        self.rows = Rows(*features(linear))
        self.places = places

    def forward(self, x: Tensor) -> Tensor:
        linear, places = self.linear, self.places
        selected = places.selected
        if selected is None:
            return places.product(linear, x)
        if len(x) != selected.batch:
            raise ServingError(
                "The adapted layers of this architecture read more than the rows: load each adapter with PEFT."
            )
        scaled = self.rows.scaled(x, selected)
        y: Tensor = places.product(linear, x) if scaled is x else linear(scaled)
        if x.ndim == 2:
            self.rows.add(x, y, linear.bias, selected)
            return y
        shape = len(x), x.shape[1:-1].numel(), -1
        inputs, outputs = x.reshape(shape), y.view(shape)
        if selected.is_even:
            self.rows.add_tokens(inputs, outputs, linear.bias, selected)
        else:
            self.rows.add(inputs.flatten(0, 1), outputs.flatten(0, 1), linear.bias, selected.spread(shape[1]))
        return y


@dataclass(frozen=True)
class Use:
    """How the adapters of a base were found so far."""

    held: int
    """Number of adapters in memory."""
    nbytes: int
    """Bytes that they take."""
    hits: int
    """Rows whose adapter was in memory."""
    misses: int
    """Rows whose adapter had to be read first."""


@dataclass(slots=True)
class _Held:
    """An adapter in memory."""

    number: int
    """Among those that are held."""
    nbytes: int
    """What it takes: its head, and rows, of which it has as many in every layer as in the one where it has most."""
    used: int
    """The last batch that it was used in, counted from the start."""


class MixedNetwork:
    """A base and the adapters that were used last, within a limit of bytes. Not thread-safe."""

    def __init__(self, base: nn.Module, read: Callable[[str], AdapterFile], max_bytes: int) -> None:
        """Args:
        base: the network that all adapters were trained on; it is not changed.
        read: reads the adapter of a name.
        max_bytes: limit on the adapters that are held.
        """
        self._base = copy.deepcopy(base).requires_grad_(False).eval()
        self._fingerprint = base_fingerprint(base)
        self._read = read
        self._max_bytes = max_bytes
        shared = {id(tensor): tensor for tensor in (*self._base.parameters(), *self._base.buffers())}
        self._network = copy.deepcopy(self._base, dict(shared))
        self._places = Places()
        modules, heads = dict(self._network.named_modules()), head_paths(self._network)
        output = output_layer(self._network)
        self._layers = {
            path: MixedLinear(module, self._places)
            for path, module in modules.items()
            if is_linear(module) and not is_in_head(path, heads) and module is not output
        }
        layers: dict[str, nn.Module] = dict(self._layers)
        self._heads = {
            path: OwnHeads((modules | layers)[path], modules[path], self._places)
            for path in replaceable_head(self._base)
        }
        for path, module in (layers | self._heads).items():
            parent, _, name = path.rpartition(".")
            setattr(self._network.get_submodule(parent), name, module)
        compute_positions_by_adapter(self._network, self._places)
        self._fast = fast(self._network, self._network, fixed=True)
        """The same, to rounding."""
        self._row_bytes = sum(layer.rows.row_bytes for layer in self._layers.values())
        self._held: dict[str, _Held] = {}
        self._batches = self._hits = self._misses = 0
        self._refusal = self._tried(base)
        """Why no batch with adapters can be answered; None if each layer's inputs are the rows."""

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the adapters in memory."""
        return tuple(self._held.copy())

    @property
    def use(self) -> Use:
        """How adapters were found so far."""
        return Use(len(self._held), self._nbytes, self._hits, self._misses)

    def answer(self, batch: Batch, adapters: Sequence[str | None]) -> Tensor:
        """Logits of a batch; of texts to continue what :func:`core.networks.scoring.token_nats` gives.

        The base's products are computed once for all rows of a forward pass. That is the whole batch, unless it has
        more than :data:`MAX_TOKENS`: then texts of similar length are answered together. A row without an adapter gets
        the answer that the base alone gives on the rows of its pass, bit for bit.

        Args:
            batch: inputs, whose tensors have one row each per element of ``adapters``.
            adapters: name of the adapter of each row, or None.

        Returns:
            (n, classes) or (n, tokens), in the order of the rows.

        Raises:
            ServingError: the adapters of the batch do not fit in memory together, one of them changes the output layer
                of a language model, or the architecture is one whose layers do not read the rows.
            LabError: raised by ``read``, or the adapter does not fit the base.
        """
        if self._refusal and any(name is not None for name in adapters):
            raise ServingError(self._refusal)
        numbers, parts = self._numbers(adapters), _parts(batch)
        with torch.inference_mode():  # less bookkeeping than without gradients, and the same bits
            if len(parts) < 2:
                return self._pass(batch, numbers)
            found = [
                self._pass(
                    {name: tensor[rows, :longest] for name, tensor in batch.items()},
                    [numbers[row] for row in rows.tolist()],
                )
                for rows, longest in parts
            ]
            width = max(each.shape[1] for each in found)
            order = torch.cat([rows for rows, _ in parts])
            logits = torch.cat([F.pad(each, (0, width - each.shape[1])) for each in found])
            return torch.empty_like(logits).index_copy_(0, order, logits)

    def _pass(self, batch: Batch, numbers: Sequence[int | None]) -> Tensor:
        """What one forward pass gives. Args: batch: its inputs; numbers: of the adapter of each row."""
        self._places.select(numbers)
        if is_scored(self._network, batch):
            return token_nats(self._network, batch)
        return forward(self._network if None in numbers else self._fast, batch)

    def _tried(self, base: nn.Module) -> str | None:
        """Answer a few rows, longer than they are many, with an adapter that adds nothing.

        A layer whose inputs are (tokens, rows, d) is told from one whose inputs are (rows, tokens, d) by no batch with
        as many rows as tokens, so that its rows would get each other's adapters.

        Returns:
            What is wrong; None if each layer's inputs are the rows, or where no spec says what the network reads.
        """
        spec = spec_on(base)
        if spec is None:
            return None
        batch = spec.examples(TRIED_ROWS, torch.Generator().manual_seed(0)).batch(slice(None))
        number, places = self._places.take(1)
        for layer in self._layers.values():
            layer.rows.put(number, places, self._places.count, None)
        try:
            with torch.inference_mode():
                self._pass(batch, [number] * TRIED_ROWS)
        except ServingError as error:
            return str(error)
        finally:
            self._places.give_back(number)
        return None

    def _numbers(self, adapters: Sequence[str | None]) -> list[int | None]:
        """Number of the adapter of each row; adapters that are missing are read, in place of those used longest ago."""
        self._batches += 1
        found = [self._held.get(name) if name is not None else None for name in adapters]
        for held in found:
            if held is not None:
                held.used = self._batches
        asked = len(adapters) - adapters.count(None)
        missing = [name for name, held in zip(adapters, found, strict=True) if held is None and name is not None]
        for name in dict.fromkeys(missing):
            self._read_in(name)
        self._misses += len(missing)
        self._hits += asked - len(missing)
        if missing:
            found = [None if name is None else self._held[name] for name in adapters]
        return [None if held is None else held.number for held in found]

    def _read_in(self, name: str) -> None:
        """Hold one more adapter for the batch that is to be answered."""
        file = self._read(name)
        terms = terms_of(self._base, file, self._fingerprint)
        if other := terms.keys() - self._layers.keys():
            raise ServingError(f"Adapter {name} changes the output layer, {min(other)}: load it with PEFT.")
        rank = max(1, *(each.rank for each in terms.values()))
        vectors = sum(each.vector_bytes for each in terms.values())
        size = rank * self._row_bytes + vectors + sum(tensor.nbytes for tensor in file.head.values())
        while self._nbytes + size > self._max_bytes:
            oldest = min(self._held, key=lambda other: self._held[other].used, default=None)
            if oldest is None or self._held[oldest].used == self._batches:
                raise ServingError(
                    f"The adapters of these rows take more than the {self._max_bytes / 2**20:.0f} MiB that are kept "
                    "for adapters: send them in several requests."
                )
            self._drop(oldest)
        number, places = self._places.take(rank)
        for path, layer in self._layers.items():
            layer.rows.put(number, places, self._places.count, terms.get(path))
        for path, head in self._heads.items() if file.head else ():
            head.put(number, state_of(path, file.head))
        self._held[name] = _Held(number, size, self._batches)

    @property
    def _nbytes(self) -> int:
        """Bytes of the adapters in memory."""
        return sum(held.nbytes for held in self._held.copy().values())

    def _drop(self, name: str) -> None:
        number = self._held.pop(name).number
        self._places.give_back(number)
        for layer in self._layers.values():
            layer.rows.drop(number)
        for head in self._heads.values():
            head.drop(number)


def _parts(batch: Batch) -> list[tuple[Tensor, int]]:
    """The rows of each forward pass for a batch, and the tokens of the longest text among them.

    Empty for inputs other than texts, and for few texts: these are answered as they are.
    """
    mask = batch.get("attention_mask")
    if mask is None or mask.numel() <= MAX_TOKENS:
        return []
    lengths = (mask * torch.arange(1, mask.shape[1] + 1)).amax(1).clamp_min(1)
    order = lengths.argsort(stable=True)
    own = lengths[order].tolist()
    ends = [0]
    for row in range(1, len(own)):
        if (row + 1 - ends[-1]) * own[row] > MAX_TOKENS:
            ends.append(row)
    return [(order[start:end], own[end - 1]) for start, end in pairwise([*ends, len(own)])]


def terms_of(base: nn.Module, adapter: AdapterFile, base_fingerprint: str) -> dict[str, Terms]:
    """What an adapter adds to each layer that it changes, by path.

    Raises:
        BaseMismatchError: it was trained on another base, or its layers or its head do not fit this one.
    """
    with torch.no_grad():
        layers = layers_of(base, adapter, base_fingerprint)
        check_head(base, adapter)
        return {path: layer.terms() for path, layer in layers.items()}
