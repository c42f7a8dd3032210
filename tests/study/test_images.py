"""What the number of test images means."""

from __future__ import annotations

import numpy as np

from core.study.stats.images import MIN_IMAGES, image_facts


def test_facts_count_images_and_classes() -> None:
    even = image_facts(np.repeat(np.arange(10), 200))
    assert (even.images, even.classes, even.chance, even.worth) == (2000, 10, 10.0, 0.05)
    assert even.sentence == "2,000 test images: one is worth 0.050 points. Guessing among 10 classes reaches 10.0 %."
    assert even.warning == ""
    skewed = image_facts([0] * 300 + [1] * 60)
    assert skewed.sentence == (
        "360 test images: one is worth 0.28 points. Always naming the most frequent class reaches 83.3 %."
    )
    assert "only 360 test images" in skewed.warning
    assert image_facts([0] * (MIN_IMAGES - 1)).warning
    assert not image_facts([0] * MIN_IMAGES).warning
    assert "0.0033 points" in image_facts([0] * 30_000).sentence
    assert image_facts([]).sentence == "There are no test images."
