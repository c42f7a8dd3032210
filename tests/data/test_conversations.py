"""Conversations as the tokens of a network: as transformers makes them with its chat template, and no second mark."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, NetworkFileError
from core.networks.byte_tokenizer import ByteTokenizer
from core.networks.tokenizer import Tokenizer
from core.tasks.views.language import LanguageView
from tests.data.passage_files import chat, conversation, dataset_of
from tests.reader.test_chat_template import CHATML, FORGETFUL, LLAMA, MARKED
from tests.training.tiny_passages import tokenizer_folder

pytestmark = pytest.mark.usefixtures("read_here")

CHATS = tuple(conversation(*chat(f"the cat {n}", "sat on a mat", "and?", "ran")) for n in range(10))


def tokenizer(folder: Path, template: str, begins: bool) -> tuple[Tokenizer, Any]:
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
    own, real = tokenizer(tmp_path / "tokenizer", template, begins)
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
    own, _ = tokenizer(tmp_path / "tokenizer", CHATML, True)
    everything = tuple(Passage(messages=passage.messages, all_scored=True) for passage in CHATS)
    spec = TaskSpec.of(dataset="mine", length=512)
    batch = LanguageView().task(spec, dataset_of(*everything), own).test.batch(slice(None))
    assert batch["scored"].sum() == batch["attention_mask"].sum() - len(CHATS)  # all but the mark that begins each


def test_a_network_that_cannot_be_used_for_conversations_is_a_sentence(tmp_path: Path) -> None:
    spec, view = TaskSpec.of(dataset="mine"), LanguageView()
    with pytest.raises(DatasetError, match="has conversations, and this network has no chat template"):
        view.task(spec, dataset_of(*CHATS), ByteTokenizer())
    own, _ = tokenizer(tmp_path / "tokenizer", FORGETFUL, True)
    with pytest.raises(NetworkFileError, match="writes earlier messages in another way"):
        view.task(spec, dataset_of(*CHATS), own)
