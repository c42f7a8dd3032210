"""What each network answers: a sentence, and a table with the probabilities of all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import streamlit as st

from core.numbers import number_text
from core.objectives.language import BITS_PER_BYTE
from core.objectives.objective import ObjectiveSpec
from core.serving.panes import Answers
from core.serving.request import TextScore
from core.study.figures.examples import probabilities
from core.wording.tasks import answers_text, class_name
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.literal import colored, literal

APART = 1
"""Bits by which a token costs a network less or more than its base where it is in color: half or twice as probable."""

LESS, MORE = "blue", "orange"
"""Colors of the background of tokens that cost a network less and more than its base."""

_HTML = '<div class="answers" role="group" aria-label="Answers" tabindex="0"><table></table></div>'

_CSS = """
.answers { overflow-x: auto; font-family: var(--st-font); color: var(--st-text-color); }
table { border-spacing: 2px; width: 100%; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--st-gray-text-color); padding: 0.15rem 0.3rem; vertical-align: bottom; }
th[scope="col"] { text-align: left; }
th[scope="colgroup"] { border-bottom: 1px solid var(--st-border-color); text-align: left; }
th[scope="col"].class { text-align: center; }
.tall th[scope="col"].class > span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
th[scope="row"] {
  position: sticky; left: 0; min-width: 4.5rem; text-align: left; vertical-align: middle;
  color: var(--st-text-color); background: var(--st-background-color);
}
td { padding: 0.15rem 0.3rem; height: 1.5rem; white-space: nowrap; }
td.class { padding: 0; min-width: 1.6rem; text-align: center; border-radius: 2px; }
.folded :is(table, tbody) { display: block; }
.folded :is(thead, td.class:empty) { display: none; }
.folded tr { display: flex; flex-wrap: wrap; align-items: center; gap: 0.15rem 0.5rem; padding-bottom: 0.6rem; }
.folded tr::before { content: ""; flex-basis: 100%; order: 1; }
.folded th[scope="row"] { position: static; flex: 1; font-weight: 600; }
.folded td.class { order: 2; height: auto; padding: 0.1rem 0.4rem; white-space: normal; overflow-wrap: anywhere; }
.folded td.class::before { content: attr(data-name) ": "; }
.folded td.class::after { content: " %"; }
"""

_element = st.components.v2.component(
    "answers", html=_HTML, css=_CSS, js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


def show_answers(
    answers: Answers, labels: Mapping[str, str], names: Sequence[str], truth: float | None, objective: ObjectiveSpec
) -> None:
    """Draw the answers to one input.

    Args:
        answers: to a batch of one row.
        labels: what each network is called, by its name, in the order of the table.
        names: of the dataset's labels.
        truth: label or number of the input; None if it is not known.
        objective: what the networks have learned.
    """
    if not objective.has_classes:
        _show_numbers({label: objective.predict(answers.logits[name]).item() for name, label in labels.items()}, truth)
        return
    right = None if truth is None else int(truth)
    found = {label: answers.logits[name][0].double().softmax(0).numpy() for name, label in labels.items()}
    answered = {network: class_name(int(row.argmax()), names) for network, row in found.items()}
    st.markdown(literal(answers_text(answered, None if right is None else class_name(right, names))))
    # A chart and a dataframe, which could show the same, take several times as long to draw.
    _element(key="try-answers", data=probabilities(found, names, right))


def show_scores(scores: Mapping[str, TextScore]) -> None:
    """Draw what a text costs each network, in bits per byte and token by token.

    Args:
        scores: by what the network is called; the first is the base.
    """
    found = {label: score.bits_per_byte for label, score in scores.items() if score.bits_per_byte is not None}
    if not found:
        st.info("Nothing of this text is scored: give a longer one.", icon=":material/info:")
        return
    dataframe(
        {"Network": list(found), BITS_PER_BYTE.title: [BITS_PER_BYTE.text(each) for each in found.values()]},
        hide_index=True,
        alt="Bits per byte of the text by each network, lower is better",
    )
    st.caption(f"{BITS_PER_BYTE.about} Lower is better.")
    _show_tokens(scores)
    dataframe(
        {
            "Token": [each.token for each in next(iter(scores.values())).tokens],
            **{label: [round(each.bits, 3) for each in score.tokens] for label, score in scores.items()},
        },
        hide_index=True,
        alt="Bits of each token of the text by each network",
    )


def _show_tokens(scores: Mapping[str, TextScore]) -> None:
    """Draw the text once for each network that is not the base, with the tokens that cost it less or more in color."""
    base, *others = scores
    if others:
        st.caption(
            f"Tokens that cost :{LESS}-background[at least {APART} bit less than the base] and "
            f":{MORE}-background[at least {APART} bit more]; the table has the bits of each."
        )
    for label in others:
        pairs = zip(scores[label].tokens, scores[base].tokens, strict=True)
        parts = groupby(pairs, lambda pair: _color(pair[0].bits - pair[1].bits))
        text = "".join(colored(color, "".join(own.token for own, _ in part)) for color, part in parts)
        st.markdown(f"**{literal(label)}** {text}")


def _color(bits: float) -> str:
    """The color of a token that costs this much more than it costs the base; empty where it is hardly anything."""
    return "" if abs(bits) < APART else MORE if bits > 0 else LESS


def _show_numbers(found: Mapping[str, float], truth: float | None) -> None:
    """Draw the number that each network answers. Args: found: by what the network is called; truth: the right one."""
    off = {} if truth is None else {"Off by": [number_text(abs(number - truth), 3) for number in found.values()]}
    dataframe(
        {"Network": list(found), "Answer": [number_text(number, 3) for number in found.values()], **off},
        hide_index=True,
        alt="The number that each network answers",
    )
