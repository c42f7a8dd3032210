"""Files of tensors are those that the safetensors library writes, always the same, and take no memory beside them."""

from __future__ import annotations

import io
import json
import time

import pytest
import safetensors.torch
import torch

from core.errors import NetworkFileError
from core.tensor_file import TYPES, header_entries, tensors_bytes, tensors_size

TENSORS = {f"{name} é": torch.arange(6).reshape(2, 3).to(kind) for kind, name in TYPES.items()} | {
    "no rows": torch.zeros(0, 3),
    "one value": torch.tensor(2.0),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
}


def test_with_one_key_of_metadata_the_bytes_are_those_of_the_library() -> None:
    about = {"format": "pt"}
    plain = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    assert tensors_bytes(TENSORS, about) == safetensors.torch.save(plain, about)


@pytest.mark.parametrize("about", [{"format": "pt"}, {"format": "pt", "a": "é\n", "position": "{}"}])
def test_the_library_reads_them_and_their_size_is_known_before(about: dict[str, str]) -> None:
    content = tensors_bytes(TENSORS, about)
    assert len(content) == tensors_size(TENSORS, about)
    read = safetensors.torch.load(content)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    assert json.loads(content[8 : 8 + size])["__metadata__"] == about
    assert content == tensors_bytes(dict(reversed(TENSORS.items())), dict(reversed(about.items())))


@pytest.mark.parametrize(
    "shape", ["9," * 250_000 + "9", "9," * 250_000 + "0", "549755813887,549755813887,549755813887,0"]
)
def test_a_header_of_tensors_that_torch_cannot_have_is_refused_at_once(shape: str) -> None:
    """The product of so many sizes is one call, which held up all threads for seconds."""
    header = f'{{"a": {{"dtype": "F32", "shape": [{shape}], "data_offsets": [0, 0]}}}}'.encode()
    file, start = io.BytesIO(len(header).to_bytes(8, "little") + header), time.process_time()
    with pytest.raises(NetworkFileError, match="is not a safetensors file, or it is damaged"):
        header_entries(file, 8 + len(header), "It", NetworkFileError)
    assert time.process_time() - start < 1
