"""Chat templates: what transformers renders, with the answers scored; and whatever a program does is one sentence."""

from __future__ import annotations

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from core.errors import NetworkFileError
from core.reader import reading_here
from core.reader.chat_template import MAX_RENDERED, MAX_TEMPLATE, Conversation, Parts, rendered
from tests.bad_files.sentences import refusal

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Of SmolLM2, Qwen2 and many others."""

LLAMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MARKED = (
    "{%- for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }}!{% endgeneration %}"
    "{% else %}U: {{ m.content }}\n{% endif %}{% endfor %}"
)
FORGETFUL = (
    "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' and not loop.last %}…{% else %}{{ m.content }}"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
"""Leaves out answers once others follow, as templates do with thoughts."""

ONE: Conversation = (("system", "Be <b>brief</b>."), ("user", "Hi\n"), ("assistant", "Hello  you"))
TWO: Conversation = (*ONE, ("user", "More?"), ("assistant", "No."))
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def one(template: str, conversation: Conversation, all_scored: bool = False) -> Parts:
    (parts,) = rendered(template, ((conversation, all_scored),), TOKENS)
    return parts


def text_of(template: str, conversation: Conversation) -> str:
    """What transformers itself renders."""
    messages = [{"role": role, "content": content} for role, content in conversation]
    return render_jinja_template([messages], chat_template=template, **TOKENS)[0][0]


@pytest.mark.parametrize("conversation", [ONE, TWO])
@pytest.mark.parametrize("template", [CHATML, LLAMA, MARKED])
def test_a_conversation_is_the_text_that_transformers_renders(template: str, conversation: Conversation) -> None:
    text = text_of(template, conversation)
    assert "".join(part for part, _ in one(template, conversation)) == text
    assert one(template, conversation, all_scored=True) == ((text, True),)


@pytest.mark.parametrize(
    ("template", "answers"),
    [
        (CHATML, ["Hello  you<|im_end|>\n", "No.<|im_end|>\n"]),
        (LLAMA, ["Hello  you<|eot_id|>", "No.<|eot_id|>"]),
        (MARKED, ["Hello  you!", "No.!"]),
    ],
)
def test_answers_are_scored_with_the_mark_that_ends_them_and_their_header_is_not(
    template: str, answers: list[str]
) -> None:
    assert [part for part, scored in one(template, TWO) if scored] == answers
    assert [part for part, scored in one(template, ONE) if scored] == answers[:1]


def test_a_template_that_changes_earlier_messages_is_used_for_one_answer_alone() -> None:
    assert one(FORGETFUL, ONE)[-1] == ("Hello  you", True)
    with pytest.raises(NetworkFileError, match="writes earlier messages in another way when others follow"):
        one(FORGETFUL, TWO)
    assert one(FORGETFUL, TWO, all_scored=True)[0][1]


def test_a_text_does_not_depend_on_the_day() -> None:
    template = "{% for m in messages %}{{ strftime_now('%d %b %Y') }}{{ m.content }}{% endfor %}"
    assert "26 Jul 2024Hi" in one(template, ONE)[0][0]


BAD = {
    "{% for": "unexpected 'end of template'",
    "{{ raise_exception('no system role') }}": "conversation 1 (no system role)",
    "{{ ''.__class__.__mro__ }}": "'__class__' of 'str' object is unsafe",
    "{{ messages[0].foo.bar }}": "has no attribute 'foo'",
    "{% include 'x' %}": "no loader",
    "{{ 1 / 0 }}": "division by zero",
    "{{ messages.append(1) }}": "unsafe",
    "{{ messages[9].content + 1 }}": "conversation 1",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}": "",
    "nothing": "leaves nothing to learn of conversation 1",
    "x" * (MAX_TEMPLATE + 1): "more than 262,144 characters",
    f"{{{{ 'x' * {MAX_RENDERED + 1} }}}}": "makes a text of more than 1,048,576",
    "{{ 'x' * 10**10 }}": "takes more than 128 MiB",
}


@pytest.mark.parametrize("template", BAD, ids=lambda template: template[:30])
def test_whatever_a_template_does_is_one_sentence(template: str) -> None:
    assert BAD[template] in refusal(NetworkFileError, one, template, ONE)


def test_what_a_conversation_says_is_no_program() -> None:
    said = (("user", "{{ 1 + 1 }}{% raw %}"), ("assistant", "{% generation %}"))
    with reading_here():
        assert "{{ 1 + 1 }}{% raw %}" in one(CHATML, said)[0][0]
        assert one(CHATML, said)[1] == ("{% generation %}<|im_end|>\n", True)
