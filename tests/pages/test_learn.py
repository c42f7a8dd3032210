"""The Learn page: computed numbers, widgets that change them, and text alternatives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import close_lab, open_lab
from core.settings import Settings
from core.study.learn.counting import PUBLISHED, LayerCount, count_spec
from pages.learn import diagram
from tests.pages.test_pages import draw, metrics
from tests.study.transformers_changed import tiny_spec

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppTest]:
    """The page, drawn once: each test has settings of its own on it. The shell needs the process-wide lab."""
    open_lab(Settings(tmp_path_factory.mktemp("learn") / "home"))
    yield draw("learn")
    close_lab()


def test_it_opens_on_the_example_of_4000_against_a_million_with_a_name_for_every_picture(page):
    shown = metrics(page)
    assert (shown["Full fine-tuning"], shown["LoRA"], shown["Reduction"]) == ("1,000,000", "4,000", "250 ×")
    assert shown["No savings from rank"] == "500"
    names = [image.alt for element in page.get("image") for image in element.proto.imgs]
    names += [element.proto.alt for element in page.get("dataframe")]
    assert len(names) == 3
    assert all(len(name) > 20 for name in names)


def test_counts_follow_the_shape_and_the_rank_is_limited_to_it(page):
    page.number_input(key="learn_in").set_value(784)
    page.number_input(key="learn_out").set_value(128)
    page.slider(key="learn_rank").set_value(110).run()
    assert (metrics(page)["Full fine-tuning"], metrics(page)["LoRA"]) == ("100,352", "100,320")
    assert metrics(page)["No savings from rank"] == "111"
    page.slider(key="learn_rank").set_value(200).run()
    assert metrics(page)["LoRA"] == f"{128 * (784 + 128):,}"


def test_merging_restores_the_same_bits_at_every_rank(page):
    for rank in (1, 16, 128):
        page.select_slider(key="learn_merge_rank").set_value(rank).run()
        assert metrics(page)["W after unmerging"] == "bit-identical"
        assert float(metrics(page)["Largest difference"]) < 1e-4


def test_storage_follows_customers_network_and_rank(page):
    page.selectbox(key="learn_network").set_value("Llama 2 7B")
    page.select_slider(key="learn_model_rank").set_value(8)
    page.select_slider(key="learn_customers").set_value(1000).run()
    # 1000 × 6,738,415,616 × 2 bytes, against one of these and 1000 × 19,988,480 × 2 bytes.
    assert (metrics(page)["Full copies"], metrics(page)["Base and adapters"]) == ("13.5 TB", "53.5 GB")


def test_the_trained_numbers_follow_network_rank_and_layers(page):
    page.selectbox(key="learn_network").set_value("RoBERTa base")
    page.select_slider(key="learn_model_rank").set_value(8)
    page.selectbox(key="learn_targets").set_value("q and v").run()
    assert metrics(page)["Trained numbers"] == "294,912"
    page.selectbox(key="learn_network").set_value("GPT-2 small").run()
    assert metrics(page)["Trained numbers"] == f"{12 * 8 * (768 + 3 * 768):,}"
    page.selectbox(key="learn_targets").set_value("all linear").run()
    assert metrics(page)["Trained numbers"] == "1,179,648"
    assert metrics(page)["Adam, LoRA"] == "9.4 MB"  # two float32 numbers for each


def test_the_language_model_of_a_config_is_counted_or_its_sentence_is_shown(page):
    page.selectbox(key="learn_network").set_value("Your config.json").run()
    assert "Trained numbers" not in metrics(page)
    config = json.loads(PUBLISHED.read_text())["SmolLM2 135M"]["config"]
    page.file_uploader(key="learn_config").upload("config.json", json.dumps(config).encode()).run()
    page.selectbox(key="learn_targets").set_value("all linear")
    page.select_slider(key="learn_model_rank").set_value(8).run()
    assert metrics(page)["Trained numbers"] == "2,442,240"
    page.file_uploader(key="learn_config").upload("config.json", b'{"model_type": "t5"}').run()
    assert "cannot build a language model" in page.error[0].value
    assert "W after unmerging" in metrics(page), "the other sections stay"


def test_a_link_restores_the_settings(page):
    app = draw("learn", learn_rank="8", learn_out="4096", learn_network="GPT-2 small", learn_targets="attention")
    assert metrics(app)["LoRA"] == f"{8 * (1000 + 4096):,}"
    assert app.selectbox(key="learn_network").value == "GPT-2 small"
    assert app.selectbox(key="learn_targets").value == "attention"


SHAPES = [(1000, 1000, 2), (512, 512, 512), (1, 65_536, 1), (65_536, 1, 1), (65_536, 65_536, 512), (1, 1, 512)]
KINDS = [count_spec(kind, tiny_spec(kind)) for kind in ("bert", "gpt2", "llama", "deberta-v2", "modernbert")]


@pytest.mark.parametrize(
    "drawing",
    [
        *(diagram.matrices(LayerCount(*shape)) for shape in SHAPES),
        *(diagram.blocks(network, network.kinds) for network in KINDS),
    ],
)
def test_drawings_stay_inside_their_frame(drawing):
    root = ElementTree.fromstring(drawing)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    for text in root.iter(f"{SVG}text"):
        x, long, kind = float(text.attrib["x"]), 8.5 * len(text.text or ""), text.attrib["class"]
        start = x if "left" in kind else x - long if "right" in kind else x - long / 2
        assert 0 <= start <= start + long <= width
        assert 0 < float(text.attrib["y"]) < height


def test_matrices_are_drawn_to_scale():
    boxes = ElementTree.fromstring(diagram.matrices(LayerCount(400, 800, 100))).iter(f"{SVG}rect")
    W, A, B, change = ((float(box.attrib["width"]), float(box.attrib["height"])) for box in boxes)
    assert W == change == (88, 44)
    assert A == (11, 44)
    assert B == (88, 11)


@pytest.mark.parametrize("network", KINDS, ids=lambda network: network.name)
@pytest.mark.parametrize("choice", ["attention", "feed-forward", "all linear"])
def test_a_network_is_drawn_with_its_chosen_layers_colored(network, choice):
    root = ElementTree.fromstring(diagram.blocks(network, network.choices[choice]))
    colored = [box for box in root.iter(f"{SVG}rect") if box.attrib["class"] == "lora"]
    assert len(colored) == len(network.choices[choice])
    shown = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert {f"{network.blocks} blocks like this", "new head: trained whole"} < set(shown)
    assert all(kind.label in shown for kind in network.kinds)
