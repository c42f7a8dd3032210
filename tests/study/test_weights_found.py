"""The sentence that Weights begins with says of the setting what the answer says, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.lab import Lab
from core.rule.candidate import Claim, Rule
from core.rule.place import Place
from core.settings import Settings
from core.study.arms.verdict_words import name_of
from core.study.report.answer import place_of
from core.study.weights.found import found_sentences
from core.study.weights.spectrum import Spectrum
from tests.trained_home import TrainedHome


@pytest.fixture(scope="module")
def answer(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Place:
    lab = Lab(Settings(home=trained_home.copy(tmp_path_factory.mktemp("found") / "home")))
    found = place_of(lab, trained_home.split)
    lab.close()
    return replace(found, reason="", withheld="", unread=False)


def spectra(*ranks: int) -> dict[str, Spectrum]:
    """Layers with so many equal directions each, of which 90 % of the energy takes nine in ten."""
    return {f"layer {n}": Spectrum(np.repeat([1.0, 0.0], [rank, 100 - rank]), 50.0) for n, rank in enumerate(ranks)}


@pytest.mark.parametrize(
    ("rule", "rank", "said"),
    [
        (Rule.NONE, 40, "is as good is not decided"),
        (Rule.LOWER, 40, "is less accurate than full fine-tuning"),
        (Rule.HIGHER, 40, "is more accurate than full fine-tuning"),
        (Rule.WITHIN, 40, "is within the margin of full fine-tuning"),
        (Rule.LOWER, 2, "although it has that rank"),
        (Rule.WITHIN, 2, "Rank 2 has room for that: LoRA r=2"),
        (Rule.WITHIN, 40, "Rank 2 is enough for accuracy, although it cannot hold that: LoRA r=2"),
    ],
)
def test_the_sentence_repeats_the_answer(answer: Place, rule: Rule, rank: int, said: str) -> None:
    claimed = tuple(replace(each, claims=(Claim(rule, 2, True, True),)) for each in answer.candidates)
    found = replace(answer, rule=rule, candidates=claimed)
    larger = {path: replace(each, base_norm=1.0) for path, each in spectra(1, 2).items()}
    first, own, needed, last = found_sentences(found, spectra(rank, 1), answer.told.arm, larger, 0).split(". ")
    assert "changed layer 0 most" in first
    assert own == f"{name_of(answer.told.arm, found)} changed layer 1 most, by 141 % of the size of its weight"
    assert f"of the energy of full fine-tuning's change of a layer takes up to rank {-(-9 * rank // 10)}: " in needed
    fewer = "accuracy may need fewer of these directions, which the Rank tab measures"
    assert needed.endswith(f"that is its size, and {fewer}")
    assert said in last


def test_without_a_verdict_nothing_is_said_of_the_setting(answer: Place) -> None:
    for waiting in (replace(answer, withheld="Wait."), replace(answer, reason="Wait.")):
        sentence = found_sentences(waiting, spectra(10), None, None, 0)
        assert sentence.endswith("which the Rank tab measures. There is no verdict yet to compare that with.")
    assert found_sentences(answer, None, None, {"layer": Spectrum(np.zeros(3), 1.0)}, 0) == ""


def test_where_full_fine_tuning_is_not_known_the_adapter_is_described(answer: Place) -> None:
    sentence = found_sentences(answer, None, answer.told.arm, spectra(2), 3)
    assert "with seed 3 changed layer 0 most" in sentence
    assert "Full fine-tuning with seed" not in sentence
    assert "Rank 2 " not in sentence
