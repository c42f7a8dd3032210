"""Passages as tokens: which of them are scored, how many bytes they stand for, and what is cut; and conversations as
transformers makes them with the chat template of a network.
"""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from core.data.examples import LanguageExamples
from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, NetworkFileError
from core.networks.decoder import BEGIN, END
from core.networks.tokenizer import ByteTokenizer, Tokenizer
from core.tasks.views.language import LanguageView, passage_preview, scored_examples
from tests.data.passage_files import chat, conversation, dataset_of
from tests.reader.test_chat_template import CHATML, FORGETFUL, LLAMA, MARKED
from tests.training.tiny_passages import passages, tokenizer, tokenizer_folder

pytestmark = pytest.mark.usefixtures("read_here")

PROMPTED = Passage.prompted("naïve?", " 日本 🙂")
BYTES = ByteTokenizer()


def rows_of(examples: LanguageExamples) -> list[tuple[list[int], list[bool]]]:
    ranges = [slice(start, end) for start, end in pairwise(examples.offsets.tolist())]
    return [(examples.tokens[each].tolist(), examples.scored[each].tolist()) for each in ranges]


def test_what_follows_a_prompt_is_scored_with_the_end_and_counted_in_bytes() -> None:
    examples = scored_examples([PROMPTED], BYTES, 128)
    ((ids, scored),) = rows_of(examples)
    prompt, completion = "naïve?".encode(), " 日本 🙂".encode()
    assert ids == [BEGIN, *prompt, *completion, END]
    assert scored == [False] * (1 + len(prompt)) + [True] * (len(completion) + 1)
    assert examples.labels.tolist() == [[len(completion) + 1, len(completion)]]


@pytest.mark.parametrize("length", range(8, 22))
def test_a_cut_text_has_the_bytes_of_the_tokens_that_were_kept_and_no_end(length: int) -> None:
    examples = scored_examples([PROMPTED], BYTES, length)
    ((ids, scored),) = rows_of(examples)
    whole = [BEGIN, *PROMPTED.text.encode()]
    assert ids == ([*whole, END] if length > len(whole) else whole[:length])
    kept = sum(scored) - (ids[-1] == END)
    assert examples.labels.tolist() == [[sum(scored), kept]]


def test_no_second_token_begins_a_text_that_has_one_and_messages_end_as_their_template_says() -> None:
    own = tokenizer()
    (twice, plain) = rows_of(scored_examples([Passage.whole("<s>the cat"), Passage.whole("the cat")], own, 99))
    assert twice[0].count(0) == plain[0].count(0) == 1
    assert plain[0][-1] == own.end
    said = Passage((("the cat", False), (" sat</s>", True)), messages=(("user", "the cat"), ("assistant", "sat")))
    ((ids, scored),) = rows_of(scored_examples([said], own, 99))
    assert ids.count(own.end) == 1
    assert scored[-1]


def test_a_token_that_nothing_precedes_is_not_scored_and_its_bytes_do_not_count() -> None:
    first, second = (scored_examples([Passage.whole("the cat sat")], tokenizer(begins), 99) for begins in (True, False))
    assert first.labels[0].tolist() == [rows_of(first)[0][1].count(True), 11.0]
    words = tokenizer(False).words(rows_of(second)[0][0])
    assert second.labels[0, 1].item() == 11 - len(words[0])


def test_batches_choose_and_move_as_the_texts_do() -> None:
    examples = scored_examples(passages(12), tokenizer(), 24)
    some = examples.at(torch.tensor([5, 2]))
    assert rows_of(some) == [rows_of(examples)[row] for row in (5, 2)]
    assert torch.equal(some.labels, examples.labels[[5, 2]])
    batch = examples.batch(slice(None))
    assert torch.equal(batch["scored"].sum(1).float(), examples.labels[:, 0])
    assert not (batch["scored"] & ~batch["attention_mask"].bool()).any()


def test_a_task_of_prompts_longer_than_the_input_is_refused() -> None:
    spec = TaskSpec.of(dataset="mine", length=8)
    long = dataset_of(*[Passage.prompted("a prompt that is long", " yes")] * 5)
    with pytest.raises(DatasetError, match="Nothing of mine is left to score in texts of 8 tokens: choose a longer"):
        LanguageView().task(spec, long, BYTES)
    seen = passage_preview(spec, long, BYTES, 2)
    assert (len(seen.rows), seen.cut, seen.length) == (2, 4, 8)
    assert "".join(seen.rows[0][0]) == "<s>a prompt that is long yes</s>"


# Conversations

CHATS = tuple(conversation(*chat(f"the cat {n}", "sat on a mat", "and?", "ran")) for n in range(10))


def with_template(folder: Path, template: str, begins: bool) -> tuple[Tokenizer, Any]:
    """A tokenizer with a chat template, as the lab and as transformers read it."""
    from transformers import AutoTokenizer

    shutil.copytree(tokenizer_folder(begins), folder)
    (folder / "chat_template.jinja").write_text(template)
    return Tokenizer("tiny", folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("begins", [True, False], ids=["with a mark", "without"])
@pytest.mark.parametrize("template", [CHATML, LLAMA, MARKED])
def test_a_conversation_has_the_tokens_that_transformers_gives_it_and_no_second_mark(
    template: str, begins: bool, tmp_path: Path
) -> None:
    own, real = with_template(tmp_path / "tokenizer", template, begins)
    task = LanguageView().task(TaskSpec.of(dataset="mine", length=512), dataset_of(*CHATS), own)
    for row, passage in enumerate(CHATS):
        messages = [{"role": role, "content": content} for role, content in passage.messages]
        wanted = real.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=template == MARKED)
        if begins and wanted["input_ids"][0] != real.bos_token_id:  # the mark that this network's texts begin with
            wanted = {name: [real.bos_token_id * (name == "input_ids"), *ids] for name, ids in wanted.items()}
        batch = task.test.batch(slice(row, row + 1))
        ids, scored = batch["input_ids"][0].tolist(), batch["scored"][0].tolist()
        assert ids == list(wanted["input_ids"])
        assert ids.count(real.bos_token_id) == int(begins or template == LLAMA)
        if template == MARKED:
            assert scored == list(wanted["assistant_masks"])
        answers = real.decode([token for token, is_it in zip(ids, scored, strict=True) if is_it])
        assert "sat on a mat" in answers
        assert "cat" not in answers


def test_everything_is_scored_where_the_dataset_says_so(tmp_path: Path) -> None:
    own, _ = with_template(tmp_path / "tokenizer", CHATML, True)
    everything = tuple(Passage(messages=passage.messages, all_scored=True) for passage in CHATS)
    spec = TaskSpec.of(dataset="mine", length=512)
    batch = LanguageView().task(spec, dataset_of(*everything), own).test.batch(slice(None))
    assert batch["scored"].sum() == batch["attention_mask"].sum() - len(CHATS)  # all but the mark that begins each


def test_a_network_that_cannot_be_used_for_conversations_is_a_sentence(tmp_path: Path) -> None:
    spec, view = TaskSpec.of(dataset="mine"), LanguageView()
    with pytest.raises(DatasetError, match="has conversations, and this network has no chat template"):
        view.task(spec, dataset_of(*CHATS), BYTES)
    own, _ = with_template(tmp_path / "tokenizer", FORGETFUL, True)
    with pytest.raises(NetworkFileError, match="writes earlier messages in another way"):
        view.task(spec, dataset_of(*CHATS), own)
