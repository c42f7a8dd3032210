"""Networks and adapters of runs as files for other tools, each read back by that tool and compared on the test part."""

from __future__ import annotations

import json
import secrets
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from core.adapter.certificate import LogitComparison
from core.adapter.verify import read_with_peft
from core.artifacts.artifacts import MERGED, PRETRAINED, Artifacts
from core.data.dataset import LANGUAGE, LanguageDataset, TextDataset
from core.data.examples import Examples
from core.data.sources.catalog import Catalog
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import ExportError
from core.files import check_sha256, sha256_of, write_atomically
from core.methods.method import Role
from core.networks.file import read_network
from core.networks.onnx_file import OPSET, OnnxNetwork, onnx_bytes
from core.networks.pretrained import CONFIG, are_read
from core.networks.tokenizer import FILES
from core.networks.transformers_library import transformers
from core.numbers import count_text, listed
from core.settings import Settings
from core.store.record import Run
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.training.evaluation import batch_of, predict

ONNX = "model.onnx"

TOLERANCE = 1e-3
"""Maximum difference between logits, relative to the largest logit or to 1, whichever is larger: another tool adds in
another order, and some replace functions by approximations."""

PROBE = 4
"""Test examples that a network is traced with."""

TEXTS = 64
"""Test texts that the tokenizer of a file is compared on."""


@dataclass(frozen=True)
class ExportCertificate:
    """What a tool read from a file, compared with the trained network on the whole test part."""

    format: str
    """Name in :data:`FORMATS`."""
    tool: str
    """What read the file, with its version."""
    file_sha256: str
    examples: int
    """Size of the test part."""
    largest_logit: float
    largest_difference: float
    """Maximum difference between logits."""
    equal_predictions: int
    """Examples for which both predict the same label; without classes those for which they differ by rounding alone."""

    def to_json(self) -> bytes:
        """Serialize; :meth:`from_json` is the inverse."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> ExportCertificate:
        """Read a certificate. Raises: ExportError: it is damaged."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise ExportError("The certificate of this file is damaged: make the file again.") from error

    def __str__(self) -> str:
        """What was compared, and how far apart it was."""
        apart = f"within {self.largest_difference:.1e}" if self.largest_difference else "identical"
        same = "all" if self.equal_predictions == self.examples else f"{count_text(self.equal_predictions)} of"
        return (
            f"Read by {self.tool}: logits {apart}, where they reach {self.largest_logit:.1f}, and the same prediction "
            f"for {same} {count_text(self.examples)} test examples."
        )


@dataclass(frozen=True)
class Export:
    """A file for other tools."""

    path: Path
    certificate: ExportCertificate


class Format(ABC):
    """A kind of file that another tool reads."""

    name: ClassVar[str]
    title: ClassVar[str]
    line: ClassVar[str]
    """What it is for, in a sentence."""
    file: ClassVar[str]
    """Usual name of the file in a run's folder."""
    media_type: ClassVar[str]

    @property
    def certificate(self) -> str:
        """Name of the certificate's file."""
        return f"{self.file}.json"

    def fits(self, run: Run) -> bool:
        """Whether it can hold the network of a run."""
        return True

    def file_of(self, run: Run) -> str:
        """Name of the file in the folder of a run."""
        return self.file

    def make(self, run: Run, path: Callable[[str], Path], labels: tuple[str, ...], examples: Examples) -> Path:
        """Make the file, unless it is there; by default it is one of the run's own.

        Args:
            run: what to export.
            path: gives a file of the run by its name.
            labels: name of each class.
            examples: some of the test part.

        Returns:
            Its path. A file that the run does not keep anyway has a temporary name in the folder of the run: it gets
            its own once it is found right, so that a wrong one never replaces one that is offered.

        Raises:
            LabError: it cannot be made.
        """
        return path(self.file_of(run))

    @abstractmethod
    def read(self, path: Path, base: Callable[[], nn.Module]) -> tuple[Callable[..., Any], str]:
        """Read the file as its tool does.

        Args:
            path: the file.
            base: reads the network that a run started from, for files without its weights.

        Returns:
            A network, or a function like one; and the tool.

        Raises:
            LabError: the tool is not installed, or a file cannot be read.
        """

    def tokens(self, path: Path, texts: Sequence[str]) -> Mapping[str, Sequence[Sequence[int]]] | None:
        """Read texts with the tokenizer in the file, padded and cut as its tool does.

        Args:
            path: the file.
            texts: to read.

        Returns:
            ``input_ids`` and ``attention_mask``, a row for each text; None for a file without a tokenizer.

        Raises:
            ExportError: it cannot read them.
        """
        return None


class PeftFormat(Format):
    """An adapter in PEFT's format, as the run has written it."""

    name = "peft"
    title = "Adapter, for PEFT"
    line = "Config and trained weights, which `PeftModel.from_pretrained` adds to the base."
    file = ADAPTER
    media_type = "application/zip"

    def fits(self, run: Run) -> bool:
        return run.spec.role is Role.ADAPTER

    def read(self, path: Path, base: Callable[[], nn.Module]) -> tuple[Callable[..., Any], str]:
        network, version = read_with_peft(path, base())
        return network, f"PEFT {version}"


class MergedFormat(Format):
    """An ordinary network of torch."""

    name = "safetensors"
    title = "Network, for torch"
    line = "One safetensors file, which `read_network` of LoRA Lab reads."
    file = MERGED
    media_type = "application/octet-stream"

    def file_of(self, run: Run) -> str:
        return _network_file(run)

    def read(self, path: Path, base: Callable[[], nn.Module]) -> tuple[Callable[..., Any], str]:
        return read_network(path), f"torch {torch.__version__}"


class TransformersFormat(Format):
    """A folder for Hugging Face transformers, as a zip."""

    name = "transformers"
    title = "Folder, for transformers"
    line = "Config, tokenizer and weights in a zip, which `from_pretrained` reads without PEFT once unpacked."
    file = PRETRAINED
    media_type = "application/zip"

    def fits(self, run: Run) -> bool:
        return run.spec.network.pretrained is not None

    def read(self, path: Path, base: Callable[[], nn.Module]) -> tuple[Callable[..., Any], str]:
        library = transformers()
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            architecture = json.loads(Path(folder, CONFIG).read_bytes())["architectures"][0]
            network = getattr(library, architecture).from_pretrained(folder)
        return network.eval(), f"transformers {library.__version__}"

    def tokens(self, path: Path, texts: Sequence[str]) -> Mapping[str, Sequence[Sequence[int]]] | None:
        library = transformers()
        try:
            with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if name in (CONFIG, *FILES)])
                tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
                found: Mapping[str, Sequence[Sequence[int]]] = tokenizer(list(texts), padding=True, truncation=True)
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError) as error:
            raise ExportError(
                f"transformers {library.__version__} cannot read texts with the tokenizer of this network: the file is "
                "not offered."
            ) from error
        return found


class OnnxFormat(Format):
    """An ONNX file."""

    name = "onnx"
    title = "ONNX, for other runtimes"
    line = "One file for onnxruntime and others, in browsers, on phones and on servers without Python."
    file = ONNX
    media_type = "application/octet-stream"

    def fits(self, run: Run) -> bool:
        return run.spec.network.learns != LANGUAGE

    def make(self, run: Run, path: Callable[[str], Path], labels: tuple[str, ...], examples: Examples) -> Path:
        network = path(_network_file(run))
        batch = {name: tensor[:PROBE] for name, tensor in examples.batch(slice(0, PROBE)).items()}
        file = network.with_name(f".{ONNX}.{secrets.token_hex(8)}.part")
        write_atomically(file, onnx_bytes(read_network(network), batch))
        return file

    def read(self, path: Path, base: Callable[[], nn.Module]) -> tuple[Callable[..., Any], str]:
        network = OnnxNetwork(path.read_bytes(), torch.get_num_threads())
        return network, f"onnxruntime {network.version}, opset {OPSET}"


FORMATS: dict[str, Format] = {
    form.name: form for form in (PeftFormat(), MergedFormat(), TransformersFormat(), OnnxFormat())
}
"""The kinds of files, by name."""


class Exports:
    """Makes files for other tools, and the certificate of each. Any thread may call any method."""

    def __init__(self, settings: Settings, store: Store, artifacts: Artifacts, catalog: Catalog, tasks: Tasks) -> None:
        """Args:
        settings: the home folder.
        store: has the hashes of the files.
        artifacts: the networks of runs.
        catalog: names of classes.
        tasks: the test parts.
        """
        self._runs = settings.runs
        self._store = store
        self._artifacts = artifacts
        self._catalog = catalog
        self._tasks = tasks

    def offered(self, run: Run) -> list[Format]:
        """The kinds of files that can hold the network of a run."""
        return [form for form in FORMATS.values() if form.fits(run)]

    def known(self, run: Run, form: Format) -> Export | None:
        """The file of a run, if it has been made."""
        folder = self._runs / run.id
        path = folder / form.file_of(run)
        try:
            certificate = ExportCertificate.from_json((folder / form.certificate).read_bytes())
        except (OSError, ExportError):
            return None
        same = certificate.file_sha256 == self._store.files(run.id).get(path.name)
        return Export(path, certificate) if same and path.exists() else None

    def path(self, run: Run, form: Format) -> Path:
        """Path of a file that has been made. Raises: ExportError: it has not; DamagedFileError: it has changed."""
        known = self.known(run, form)
        if known is None:
            raise ExportError("This file has not been made yet.")
        check_sha256(known.path, known.certificate.file_sha256, f"The file {known.path.name} of run {run.id}")
        return known.path

    def make(self, run: Run, form: Format) -> Export:
        """Make the file of a run, have its tool read it, and compare both on the test part.

        Raises:
            ExportError: the tool computes something else.
            LabError: the run has no network, the dataset is gone, or the file cannot be made or read.
            OSError: a file cannot be written.
        """
        spec = run.spec
        if not form.fits(run):
            others = listed([other.name for other in self.offered(run)])
            raise ExportError(f"Run {run.id} cannot be exported as {form.name}: choose one of {others}.")
        test = self._tasks.get(spec.task, network=spec.network).test
        dataset = self._catalog.load(spec.task.dataset)
        labels = dataset.class_names

        def path_of(name: str) -> Path:
            own = self._artifacts
            return own.pretrained(run.id, labels) if name == PRETRAINED else own.path(run.id, name)

        trained = self._artifacts.trained(run)
        expected = predict(trained, test)
        made = form.make(run, path_of, labels, test)
        path = made.with_name(form.file_of(run))
        try:
            if isinstance(dataset, TextDataset | LanguageDataset):
                texts = [each if isinstance(each, str) else each.text for each in dataset.test_texts[:TEXTS]]
                tokenizer = self._artifacts.tokenizer(run)
                read = tokenizer.encode(texts, spec.task.length)
                if not are_read(form.tokens(made, texts), read, tokenizer.padding):
                    raise ExportError(
                        f"The tokenizer in the file for {form.name} reads texts as other tokens than training did: the "
                        "file is not offered."
                    )
            network, tool = form.read(made, lambda: self._artifacts.base_network(run))
            logits = predict(network, test, size=batch_of(trained))
            objective = spec.objective
            alike = objective.compared(expected), objective.compared(logits)
            found = LogitComparison.of(f"logits by {tool} and of the trained network", *alike, TOLERANCE)
            if not found.is_same:
                raise ExportError(f"The {found}: the file is not offered.")
            apart = (objective.predict(expected) - objective.predict(logits)).abs()
            certificate = ExportCertificate(
                form.name,
                tool,
                sha256_of(made),
                found.examples,
                found.largest_logit,
                found.largest_difference,
                int((apart <= (0 if objective.has_classes else found.allowed)).sum()),
            )
            made.replace(path)
        finally:
            if made != path:
                made.unlink(missing_ok=True)
        write_atomically(path.with_name(form.certificate), certificate.to_json())
        self._store.add_file(run.id, path.name, certificate.file_sha256)
        return Export(path, certificate)


def _network_file(run: Run) -> str:
    """The file with a run's network: its own, or the base with the adapter merged into it."""
    return MERGED if run.spec.role is Role.ADAPTER else NETWORK
