"""Sequence classifiers of Hugging Face's transformers: built from a config, filled with weights, drawn from a seed."""

from __future__ import annotations

import json
import logging
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import SpecError
from core.methods.targets import CLASSIFIERS
from core.networks.own_generator import GLOBAL_GENERATOR, OwnGenerator
from core.networks.transformers_library import transformers

UNUSED = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)
"""Fields of a config that say nothing of the architecture, or that are set when a classifier is built."""

NEVER = ("attn_implementation", "experts_implementation", "transformers_weights", "use_kernels")
"""Fields that choose what computes a network, which may be code from elsewhere: a config does not decide this."""

FAULTS = (ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError, ArithmeticError)
"""What transformers raises for a config or weights that it cannot build a network of."""

CLASSIFIER, CAUSAL = "a classifier of texts", "a language model"
"""What functions build, in words."""

# The logging settings of transformers are global.
_BUILDING = threading.Lock()


def architecture(values: Mapping[str, Any], pad_token: int | None = None) -> str:
    """The architecture that a ``config.json`` describes, as canonical JSON without what does not belong to it.

    Args:
        values: content of the file.
        pad_token: token that pads texts, where the config names none that the network has. Decoders need it: they
            pool the last token that is not padding.

    Raises:
        SpecError: transformers knows no such architecture, cannot classify sequences with it, or the values are wrong.
    """
    kept = {name: value for name, value in values.items() if name not in UNUSED}
    if pad_token is not None and not _is_token(kept.get("pad_token_id"), kept.get("vocab_size")):
        kept["pad_token_id"] = pad_token
    whole = _config(kept, 2).to_dict()
    text = json.dumps({name: value for name, value in whole.items() if name not in UNUSED}, sort_keys=True)
    build_classifier(text, 2, torch.device("meta"))
    return text


def build_classifier(config: str, num_classes: int, device: torch.device, seed: int | None = None) -> nn.Module:
    """A classifier of sequences with weights as transformers draws them.

    Args:
        config: from :func:`architecture`.
        num_classes: number of outputs.
        device: ``meta`` builds shapes only.
        seed: of the initial weights; torch's global generator is left as it was.

    Raises:
        SpecError: this version of transformers cannot build it.
    """
    return _built(config, num_classes, _classifier, CLASSIFIER, device, seed).float()


def build_causal(config: str, device: torch.device, seed: int | None = None) -> nn.Module:
    """A causal language model with weights as transformers draws them; see :func:`build_classifier`."""
    return _built(config, 2, _causal, CAUSAL, device, seed).float()


def fill_causal(config: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """A causal language model with all its weights from a checkpoint, in which tied ones may be once.

    Raises:
        SpecError: the weights are of another architecture, or without an output layer.
    """
    network, missing = _filled(config, 2, weights, 0, _causal, CAUSAL)
    if missing:
        raise SpecError(f"This network has no weights for {missing[0]:.100}: choose one that continues texts.")
    return network


def build_language_model(config: str) -> nn.Module:
    """A language model with its output layer, on the ``meta`` device: for counting.

    Args:
        config: JSON of a ``config.json``.

    Raises:
        SpecError: transformers has no language model of this architecture.
    """
    return _built(config, 2, _language_model, "a language model", torch.device("meta"), None)


def _built(
    config: str, num_classes: int, find: Callable[[Any], Any], what: str, device: torch.device, seed: int | None
) -> nn.Module:
    """A network of the class that ``find`` gives for a config. Args: what: it is, in words."""
    own = _config(json.loads(config), num_classes)
    with _building(seed), device:
        try:
            network: nn.Module = find(own)._from_config(own)
        except FAULTS as error:
            raise _no_network(own.model_type, error, what) from error
    return network


def fill_classifier(
    config: str, num_classes: int, weights: Mapping[str, Tensor], seed: int
) -> tuple[nn.Module, tuple[str, ...]]:
    """A classifier with the weights of a checkpoint; what the checkpoint lacks is drawn from a seed.

    Args:
        config: from :func:`architecture`.
        num_classes: number of outputs.
        weights: tensors of the checkpoint, of the whole classifier or of its encoder or decoder alone.
        seed: of the weights that the checkpoint lacks; torch's global generator is left as it was.

    Returns:
        The network in float32, and the names of the parameters that were drawn.

    Raises:
        SpecError: the weights are of another architecture.
    """
    return _filled(config, num_classes, weights, seed, _classifier, CLASSIFIER)


def _filled(
    config: str, num_classes: int, weights: Mapping[str, Tensor], seed: int, find: Callable[[Any], Any], what: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """A network of the class that ``find`` gives, with weights; see :func:`fill_classifier`."""
    own = _config(json.loads(config), num_classes)
    with _building(seed):
        try:
            network, found = find(own).from_pretrained(
                None,  # no files: the weights are given
                config=own,
                state_dict=dict(weights),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, with a sentence
                dtype=torch.float32,
            )
        except (*FAULTS, OSError) as error:
            raise _no_network(own.model_type, error, what) from error
    if found["mismatched_keys"]:
        name = min(str(key[0] if isinstance(key, tuple) else key) for key in found["mismatched_keys"])
        raise SpecError(f"These weights do not fit their config: {name:.100} has another shape. Choose other files.")
    # It was None, of which transformers has made a name; PEFT would look for that at Hugging Face.
    network.name_or_path = network.config.name_or_path = ""
    return network.eval(), tuple(sorted(found["missing_keys"]))


def save_gguf(path: Path, folder: Path) -> None:
    """Write the network and the tokenizer of a GGUF file to a folder, with weights in float32.

    Raises:
        SpecError: transformers cannot read it.
        OSError: the disk is full or not writable.
    """
    place: Any = {"gguf_file": path.name, "local_files_only": True}
    with _building(None):
        try:
            model = transformers().AutoModelForCausalLM
            # It may have been installed since this was asked.
            transformers("utils.import_utils").is_accelerate_available.cache_clear()
            network: Any = model.from_pretrained(path.parent, dtype=torch.float32, **place)
            tokenizer = transformers().AutoTokenizer.from_pretrained(path.parent, **place)
        except (*FAULTS, struct.error) as error:
            raise SpecError(f"{path.name[:80]} cannot be read: install its package again.") from error
        # The weights are floats by now; with the marks of quantized ones they could not be saved.
        network.hf_quantizer = None
        if hasattr(network.config, "quantization_config"):
            del network.config.quantization_config
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def head_of(network: nn.Module, drawn: tuple[str, ...]) -> tuple[str, ...]:
    """Paths of the modules that a checkpoint did not have, which every method trains.

    Args:
        network: the classifier.
        drawn: names of the parameters that were drawn.

    Returns:
        Of a classifier the whole module, as PEFT saves it; of anything else the module that holds the parameter.
    """
    heads = [name for name, _ in network.named_children() if name in CLASSIFIERS]
    inside = {parameter: next((h for h in heads if parameter.startswith(f"{h}.")), None) for parameter in drawn}
    found = {head or parameter.rpartition(".")[0] for parameter, head in inside.items()} | set(heads)
    return tuple(path for path, _ in network.named_modules() if path in found)


def _is_token(token: Any, count: Any) -> bool:
    """Whether a config's value is one of ``count`` tokens, where it says how many: old conversions of LLaMA have -1."""
    return isinstance(token, int) and token >= 0 and not (isinstance(count, int) and token >= count)


def _config(values: Mapping[str, Any], num_classes: int) -> Any:
    """The config object. Raises: SpecError: unknown, or with values that do not fit together."""
    kind = values.get("model_type")
    if not isinstance(kind, str):
        raise SpecError("This config does not say which architecture it is of: it has no model_type.")
    try:
        rest = {name: value for name, value in harmless(values).items() if name != "model_type"}
        return transformers().AutoConfig.for_model(kind, **rest, num_labels=num_classes)
    except Exception as error:  # configs validate their values with exceptions of many kinds
        if isinstance(error, MemoryError):
            raise
        raise _no_network(kind, error) from error


def harmless(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config, and of the configs in it, that do no more than describe a network.

    transformers sets every field as an attribute, so those that would replace a method or a private attribute go.
    """
    base = transformers().PretrainedConfig
    return {
        name: harmless(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if not name.startswith("_") and name not in NEVER and not callable(getattr(base, name, None))
    }


def _classifier(config: Any) -> Any:
    """The class of the classifier for a config. Raises: ValueError: there is none."""
    classes = transformers("models.auto.modeling_auto").MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    if type(config) not in classes:
        raise ValueError("it has no classifier")
    return classes[type(config)]


def _causal(config: Any) -> Any:
    """The class of the causal language model for a config. Raises: ValueError: there is none."""
    classes = transformers("models.auto.modeling_auto").MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) not in classes:
        raise ValueError("it does not continue texts")
    return classes[type(config)]


def _language_model(config: Any) -> Any:
    """The class of the language model for a config. Raises: ValueError: there is none."""
    known = transformers("models.auto.modeling_auto")
    for classes in (known.MODEL_FOR_MASKED_LM_MAPPING, known.MODEL_FOR_CAUSAL_LM_MAPPING):
        if type(config) in classes:
            return classes[type(config)]
    raise ValueError("it is no language model")


@contextmanager
def _building(seed: int | None) -> Iterator[None]:
    """Build alone, silently, and with random numbers from a seed, whatever other threads draw meanwhile."""
    messages = transformers("utils").logging
    own = nullcontext() if seed is None else OwnGenerator(seed)
    with _BUILDING, GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]), own:
        level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
        messages.set_verbosity(logging.CRITICAL)
        messages.disable_progress_bar()
        try:
            yield
        finally:
            messages.set_verbosity(level)
            if bars:
                messages.enable_progress_bar()


def _no_network(kind: str, error: Exception, what: str = CLASSIFIER) -> SpecError:
    cause = str(error).strip().split("\n")[0] or type(error).__name__
    shown = "".join(filter(str.isprintable, cause))[:160]
    return SpecError(
        f"transformers cannot build {what} from the architecture {kind[:60]!r} ({shown}): choose another network."
    )
