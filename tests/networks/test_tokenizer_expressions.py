"""Regular expressions of tokenizers: those of published ones are taken, no other, and none of them can take long."""

from __future__ import annotations

import ast
import itertools
import json
import time
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from core.errors import NetworkFileError
from core.networks.tokenizer_form import EXPRESSIONS, LINEAR, check_form, is_known, make_linear
from tests.bad_files.tokenizers import form, replacing, split

RUNS = ("a", "A", "ª", "一", "\u0301", "1", " ", "\n", "\u00a0", ".", "'", "▁")
"""What adversarial texts repeat: of each kind of character that an expression names at least one."""

AROUND = (("", ""), ("", "a"), ("", "▁"), ("a", " "), ("▁", "\N{GRINNING FACE}"))
SHORT, LONG = 2_000, 50_000
"""Characters of these texts. Were the time to grow with the square, the long ones would take 625 times as long."""

TOLERATED = 10
"""How many times the ratio of the lengths the ratio of the times may be. Other work on the machine does not count,
since this is time of the CPU, but its caches do."""

LEAST = 1e-3
"""Seconds that are taken for what takes less."""


def texts(length: int) -> list[str]:
    """Texts of one character with something else around it, or of two, in turn or one after the other."""
    runs = [before + run * length + behind for run in RUNS for before, behind in AROUND]
    pairs = itertools.permutations(("a", "A", "1", " ", "\n", "."), 2)
    return runs + [text for a, b in pairs for text in ((a + b) * (length // 2), a * (length // 2) + b * (length // 2))]


def longest(expression: str, length: int, enough: float = 1e9) -> float:
    """Seconds of CPU time for the text that takes longest; the search ends with one that takes more than enough."""
    splitter, found = pre_tokenizers.Split(Regex(expression), "removed"), 0.0
    for text in texts(length):
        start = time.process_time()
        splitter.pre_tokenize_str(text)
        found = max(found, time.process_time() - start)
        if found > enough:
            break
    return found


def grows_with_the_text(expression: str) -> bool:
    allowed = TOLERATED * LONG / SHORT * max(LEAST, min(longest(expression, SHORT) for _ in range(3)))
    return longest(expression, LONG, allowed) <= allowed


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_time_of_every_expression_grows_as_the_text_does(expression: str) -> None:
    assert grows_with_the_text(expression)


@pytest.mark.parametrize("expression", LINEAR)
def test_that_measure_sees_a_time_that_grows_with_the_square(expression: str) -> None:
    assert not grows_with_the_text(expression)
    assert not is_known(expression)


@pytest.mark.parametrize("expression", LINEAR)
@given(
    st.text(st.sampled_from([*RUNS, "\r", "\t", "\x0b", "\u0085", "\u2028", "\u3000", " ", "\n", "\N{GRINNING FACE}"]))
)
def test_what_is_used_in_place_of_an_expression_matches_the_same(expression: str, text: str) -> None:
    parts = {"normalizer": replacing("", "▁"), "pre_tokenizer": split(expression)}
    parts["normalizer"]["pattern"] = {"Regex": expression}
    made = json.loads(json.dumps(form(**{name: {"type": "Sequence", key: [parts[name]]} for name, key in SEQUENCES})))
    with pytest.raises(NetworkFileError, match="regular expression"):
        check_form(made)
    make_linear(made)
    check_form(made)
    for name, work in (
        ("normalizer", lambda read: read.normalizer.normalize_str(text)),
        ("pre_tokenizer", lambda read: read.pre_tokenizer.pre_tokenize_str(text)),
    ):
        theirs, ours = (Tokenizer.from_str(json.dumps(form(**{name: each[name]}))) for each in (parts, made))
        assert work(theirs) == work(ours)


SEQUENCES = (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers"))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_taken_in_any_part_and_matches_something(expression: str) -> None:
    check_form(form(pre_tokenizer=split(expression)))
    check_form(form(normalizer={"type": "Replace", "pattern": {"Regex": expression}, "content": " " * 64}))
    assert pre_tokenizers.Split(Regex(expression), "isolated").pre_tokenize_str("") == []


def test_the_expressions_that_transformers_writes_are_taken() -> None:
    assert {found for found in written_by_transformers() if not is_known(LINEAR.get(found, found))} == set()


def written_by_transformers() -> set[str]:
    """The constant expressions that transformers gives to the tokenizers library, and those that it has a name for."""
    root, found = Path(transformers.__file__).parent, set()
    for path in (*root.glob("*.py"), *root.glob("models/*/tokenization_*.py"), *root.glob("integrations/**/*.py")):
        text = path.read_text()
        if "Regex(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            given: list[ast.expr] = []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "Regex":
                given = node.args
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                given = [node.value] if r"\p{" in str(node.value.value) else []
            found |= {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    assert len(found) > 10
    return found


def test_ends_of_lines_may_be_written_as_they_are() -> None:
    assert is_known("[\r\n]")
    assert all(is_known(each.replace(r"\r", "\r").replace(r"\n", "\n")) for each in EXPRESSIONS)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_another_expression_is_refused_by_name_and_a_plain_text_is_not(part: str) -> None:
    plain = split("a") if part == "pre_tokenizer" else replacing("a", "b")
    plain["pattern"] = {"String": r"[ab]*[ab]*c"}
    check_form(form(**{part: plain}))
    kind = plain["type"]
    with pytest.raises(NetworkFileError, match=rf"has a {kind} with a regular expression .* know, '\[ab\]\*\[ab\]\*c'"):
        check_form(form(**{part: plain | {"pattern": {"Regex": r"[ab]*[ab]*c"}}}))
