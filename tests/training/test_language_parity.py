"""Language models learn and are measured as transformers and PEFT do it, written plainly, to 1e-9; and as TRL does."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.examples import Task
from core.data.passage import Passage
from core.engine.jobs.choice import stepper_of
from core.methods.adapted import merged_copy
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.networks import scoring
from core.networks.forward import forward
from core.objectives.language import LanguageSpec
from core.run_spec import OptimSpec
from core.training.autograd import AutogradStepper
from core.training.evaluation import evaluate, predict
from tests.soak.sizes import full_or_short
from tests.training.plain import plainly
from tests.training.test_peft_parity import check_trained, theirs
from tests.training.tiny_passages import CONFIGS, LONGEST, network_of, passages, task_of, tokenizer_folder

STEPS, BATCH = 50, 8
PLAIN_STEPS = full_or_short(STEPS, 25)
"""Of the loop that is written plainly."""

OPTIM = OptimSpec.of(batch_size=BATCH, epochs=10, learning_rate=0.003, clip=1.0, accumulation=2)
LANGUAGE = LanguageSpec()
METHODS: dict[str, MethodSpec] = {
    "full": method_of("full"),
    "lora": LoRASpec.of(rank=2, alpha=3, target_modules=("all-linear",)),
}


def prompt_of(passage: Passage) -> str:
    return "".join(text for text, is_scored in passage.parts if not is_scored)


def plain(passages: tuple[Passage, ...], begins: bool) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of passages, as one would make them with transformers: −100 is not scored."""
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(tokenizer_folder(begins))
    found = []
    for passage in passages:
        ids = own(passage.text)["input_ids"] + [own.eos_token_id]
        prompt = own(text)["input_ids"] if (text := prompt_of(passage)) else []
        labels = [-100] * len(prompt) + ids[len(prompt) :]
        found.append((ids[:LONGEST], labels[:LONGEST]))
    return found


def in_order(task: Task) -> tuple[Passage, ...]:
    """The passages of a training part, found by their tokens, since the view holds some out."""
    known = passages(60, 0)
    found = {tuple(ids): own for own, (ids, _) in zip(known, plain(known, True), strict=True)}
    train = task.train
    return tuple(
        found[tuple(train.tokens[slice(*train.offsets[i : i + 2].tolist())].tolist())] for i in range(len(train))
    )


def batches_of(task: Task) -> Tensor:
    """(steps, batch): rows of the training part."""
    return torch.randint(task.num_train, (STEPS, BATCH), generator=torch.Generator().manual_seed(3))


def padded(rows: list[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
    """A batch for transformers."""
    width = max(len(ids) for ids, _ in rows)
    return {
        "input_ids": torch.tensor([ids + [2] * (width - len(ids)) for ids, _ in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in rows]),
    }


@pytest.mark.filterwarnings("ignore:.*fan_in_fan_out.*")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_every_step_is_that_of_transformers_and_peft(name: str, kind: str) -> None:
    method, base = METHODS[kind], network_of(name)
    own = method.prepare(copy.deepcopy(base), torch.Generator().manual_seed(1))
    other, trained = theirs(copy.deepcopy(base), method, own)
    task = task_of()
    batches, order = batches_of(task)[:PLAIN_STEPS], plain(in_order(task), True)
    assert any(len(ids) == LONGEST for ids, _ in order)
    assert any(-100 in labels for _, labels in order)

    stepper = stepper_of([own], method.kind, [OPTIM], [0], task, objectives=[LANGUAGE])

    def loss_of(batch: Tensor) -> Tensor:
        inputs = padded([order[row] for row in batch.tolist()])
        labels = inputs.pop("labels")
        # Not the loss that the model gives itself, which is computed in float32.
        return F.cross_entropy(other(**inputs).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    expected = plainly(other, OPTIM, loss_of, batches)
    assert stepper.advance(batches[None]).flatten().tolist() == pytest.approx(expected, rel=1e-9)
    assert expected[-1] < expected[0] - 0.05  # something was learned
    stepper.write_back(0)
    check_trained(own, trained())


def trl_losses(model: nn.Module, known: tuple[Passage, ...], batches: Tensor, folder: Path) -> Tensor:
    """(steps,): losses of TRL's SFTTrainer, which makes tokens, labels and batches itself, but takes our order."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    losses: list[Tensor] = []

    class Ordered(SFTTrainer):
        def _get_train_sampler(self, *_: Any) -> list[int]:
            found: list[int] = batches.flatten().tolist()
            return found

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            losses.append(loss.detach())
            return loss

    config = SFTConfig(
        output_dir=str(folder),
        completion_only_loss=True,
        max_length=LONGEST,
        per_device_train_batch_size=BATCH // OPTIM.accumulation,
        gradient_accumulation_steps=OPTIM.accumulation,
        max_steps=STEPS,
        learning_rate=OPTIM.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=OPTIM.clip,
        bf16=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        **{"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True},
    )
    rows = [{"prompt": (text := prompt_of(own)), "completion": own.text.removeprefix(text)} for own in known]
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder())
    with torch.random.fork_rng():
        Ordered(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()
    return torch.stack(losses).view(STEPS, OPTIM.accumulation).sum(1)


@pytest.mark.filterwarnings("ignore:.*fan_in_fan_out.*")
@pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(("name", "kind", "dtype"), [("llama", "lora", torch.float32), ("gpt2", "full", torch.float64)])
def test_every_loss_is_that_of_trl(name: str, kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """From prompts and completions to the loss of each step, the mean over all scored tokens of the batch.

    TRL divides by their number in the whole batch as well, however many parts it is computed in. It finds the loss of a
    token in float32, whatever the weights are.
    """
    method, task = METHODS[kind], task_of()
    base, batches, known = network_of(name, dtype=dtype), batches_of(task), in_order(task)
    own = method.prepare(copy.deepcopy(base), torch.Generator().manual_seed(1))
    other, _ = theirs(base, method, own)
    expected = trl_losses(other, known, batches, tmp_path).tolist()
    stepper = stepper_of([own], method.kind, [OPTIM], [0], task, objectives=[LANGUAGE])
    assert stepper.advance(batches[None]).flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert expected[-1] < expected[0] - 0.05  # something was learned


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_bits_per_byte_are_those_of_log_probabilities(name: str, begins: bool) -> None:
    """Summed token by token and text by text; bytes are counted in what is decoded from the scored tokens."""
    from transformers import AutoTokenizer

    network, task = network_of(name).eval(), task_of(begins=begins)
    known = AutoTokenizer.from_pretrained(tokenizer_folder(begins))
    bits = size = right = count = 0.0
    for ids, labels in plain(passages(60, 1), begins):
        with torch.no_grad():
            logs = network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        scored = [place for place in range(1, len(ids)) if labels[place] != -100]
        bits -= sum(logs[place - 1, ids[place]].item() / math.log(2) for place in scored)
        right += sum(logs[place - 1].argmax().item() == ids[place] for place in scored)
        count += len(scored)
        text = [ids[place] for place in scored if ids[place] != known.eos_token_id]
        size += sum(len(known._tokenizer.id_to_token(token)) for token in text)  # a character of its alphabet is a byte
    found = evaluate(network, task.test, (), objective=LANGUAGE).measures
    assert found["bits_per_byte"] == pytest.approx(bits / size, rel=1e-9)
    assert found["token_accuracy"] == pytest.approx(100 * right / count, rel=1e-9)
    assert found["loss"] == pytest.approx(bits * math.log(2) / count, rel=1e-9)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_text_alone_has_the_score_that_it_has_in_a_batch(name: str) -> None:
    network, examples = network_of(name, dtype=torch.float32).eval(), task_of().test
    together = predict(network, examples)
    alone = predict(network, examples, size=1)
    assert (together - alone).abs().max() < 1e-5 * together.abs().max()
    with torch.no_grad():
        first = forward(network, examples.batch(slice(0, 20)))
    assert torch.allclose(first, together[:20], rtol=1e-6)


@pytest.mark.parametrize("piece", [1, 1000, scoring.PIECE])
@pytest.mark.parametrize("name", ["llama", "llama tied", "gpt2"])
def test_gradients_in_pieces_are_those_of_all_logits_at_once(
    name: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where texts weigh differently, so that the forward pass does not know the gradient of the output layer."""
    monkeypatch.setattr(scoring, "PIECE", piece)
    one, batch = network_of(name), task_of().train.batch(slice(0, 6))
    other, weights = copy.deepcopy(one), torch.arange(1.0, 7.0, dtype=torch.float64)
    (forward(one, batch)[:, 0] * weights).sum().backward()
    logits = other(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    nats = F.cross_entropy(logits.transpose(1, 2), batch["input_ids"][:, 1:], reduction="none")
    ((nats * batch["scored"][:, 1:]).sum(1) * weights).sum().backward()
    wanted = dict(other.named_parameters())
    for path, parameter in one.named_parameters():
        assert (parameter.grad - wanted[path].grad).abs().max() < 1e-9, path


def test_an_output_layer_with_an_adapter_is_scored_by_its_own_forward() -> None:
    base = network_of("llama")
    adapted = LoRASpec.of(rank=2, target_modules=("lm_head",)).prepare(copy.deepcopy(base), torch.Generator())
    with torch.no_grad():
        adapted.lm_head.lora.B.normal_()
    batch = task_of().train.batch(slice(0, 6))
    with torch.no_grad():
        plain, found = forward(base, batch), forward(adapted, batch)
        merged = forward(merged_copy(adapted), batch)
    assert not torch.allclose(plain, found)
    assert torch.allclose(merged, found, atol=1e-9)


def test_bfloat16_products_give_a_loss_near_that_of_float32() -> None:
    task = task_of()
    batches, losses = batches_of(task)[None, :8], []
    for precision in ("float32", "bfloat16"):
        network = network_of("llama tied", dtype=torch.float32)
        optim = OPTIM.but(precision=precision)
        losses.append(AutogradStepper(network, optim, task, objective=LANGUAGE).advance(batches).flatten())
    assert not torch.equal(*losses)
    assert (losses[0] - losses[1]).abs().max() < 0.05
