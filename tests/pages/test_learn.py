"""The Learn page: computed numbers, widgets that change them, and text alternatives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import close_lab, open_lab
from core.settings import Settings
from core.study.learn.architectures import CONFIGS
from pages.learn import diagram
from tests.pages.test_pages import draw, metrics

FROM_SCRATCH = (Path(__file__).parents[2] / "examples" / "from_scratch.py").read_text()
SVG = "{http://www.w3.org/2000/svg}"
SECTIONS = "formulas count beside start merge where models customers code settings forgetting next"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppTest]:
    """The page, drawn once: each test has settings of its own on it. The shell needs the process-wide lab."""
    open_lab(Settings(tmp_path_factory.mktemp("learn") / "home"))
    yield draw("learn")
    close_lab()


def test_it_opens_on_the_example_of_4000_against_a_million_and_starts_readers_at_the_file_that_needs_torch_alone(page):
    shown = metrics(page)
    assert (shown["Full fine-tuning"], shown["LoRA"], shown["Reduction"]) == ("1,000,000", "4,000", "250 ×")
    assert shown["No savings from rank"] == "500"
    assert not page.warning
    assert " ".join(header.proto.anchor for header in page.header) == SECTIONS
    assert any("`examples/from_scratch.py`" in text.value for text in page.markdown)
    assert FROM_SCRATCH.strip() == page.code[0].value.strip()
    names = [image.alt for element in page.get("image") for image in element.proto.imgs]
    names += [element.proto.alt for kind in ("plotly_chart", "dataframe") for element in page.get(kind)]
    assert len(names) == 5 + 3 + 7
    assert all(len(name) > 20 for name in names)  # every picture, chart and table has one


def test_counts_follow_the_shape_and_say_where_lora_saves_nothing(page):
    page.number_input(key="learn_in").set_value(784)
    page.number_input(key="learn_out").set_value(128)
    page.slider(key="learn_rank").set_value(110).run()
    assert (metrics(page)["Full fine-tuning"], metrics(page)["LoRA"]) == ("100,352", "100,320")
    assert not page.warning
    page.slider(key="learn_rank").set_value(111).run()
    assert metrics(page)["LoRA"] == "101,232"
    assert "no fewer numbers" in page.warning[0].value
    page.slider(key="learn_rank").set_value(200).run()
    assert "No matrix of this shape has a rank above 128" in page.warning[0].value


def test_extreme_shapes_are_drawn(page):
    for inputs, outputs in ((1, 1), (1, 65_536), (65_536, 1), (65_536, 65_536)):
        page.number_input(key="learn_in").set_value(inputs)
        page.number_input(key="learn_out").set_value(outputs)
        page.slider(key="learn_rank").set_value(512).run()


def test_draw_again_draws_other_numbers_and_both_sides_still_agree(page):
    def given():
        return [
            formula.value for formula in page.latex if formula.value.startswith(tuple(f"$$\n{m} =" for m in "xWAB"))
        ]

    before = given()
    page.button(key="learn_draw").click().run()
    assert len(before) == len(given()) == 4
    assert all(old != new for old, new in zip(before, given(), strict=True))
    shown = metrics(page)["Largest difference"]
    assert shown == "exactly 0" or float(shown) < 1e-4


def test_the_output_is_the_bases_until_b_leaves_zero(page):
    assert metrics(page)["Largest output change"] == metrics(page)["Largest gradient of A"] == "exactly 0"
    page.slider(key="learn_b").set_value(0.5).run()
    assert float(metrics(page)["Largest output change"]) > 0.1
    assert float(metrics(page)["Largest gradient of A"]) > 0


def test_merging_restores_the_same_bits_at_every_rank(page):
    for rank in (1, 16, 128):
        page.select_slider(key="learn_merge_rank").set_value(rank).run()
        assert metrics(page)["W after unmerging"] == "bit-identical"
        assert float(metrics(page)["Largest difference, 64 inputs"]) < 1e-4


def test_storage_follows_customers_model_and_rank(page):
    page.selectbox(key="learn_model").set_value("Llama 2 7B")
    page.select_slider(key="learn_model_rank").set_value(8)
    page.select_slider(key="learn_customers").set_value(1000).run()
    # 1000 × 6,738,415,616 × 2 bytes, against one of these and 1000 × 19,988,480 × 2 bytes.
    assert (metrics(page)["Full copies"], metrics(page)["Base and adapters"]) == ("13.5 TB", "53.5 GB")
    page.select_slider(key="learn_customers").set_value(1).run()
    assert any("single customer" in caption.value for caption in page.caption)


def test_the_trained_numbers_follow_model_rank_and_layers(page):
    page.selectbox(key="learn_model").set_value("RoBERTa base")
    page.select_slider(key="learn_model_rank").set_value(8)
    page.selectbox(key="learn_targets").set_value("q and v").run()
    assert metrics(page)["Trained numbers"] == "294,912"
    page.selectbox(key="learn_model").set_value("GPT-2 small").run()
    assert metrics(page)["Trained numbers"] == f"{12 * 8 * (768 + 3 * 768):,}"
    page.selectbox(key="learn_targets").set_value("all linear").run()
    assert metrics(page)["Trained numbers"] == "1,179,648"


def test_the_language_model_of_a_config_is_counted_or_its_sentence_is_shown(page):
    page.selectbox(key="learn_model").set_value("Your config.json").run()
    assert "Trained numbers" not in metrics(page)
    page.file_uploader(key="learn_config").upload("config.json", (CONFIGS / "smollm2.json").read_bytes()).run()
    page.selectbox(key="learn_targets").set_value("all linear")
    page.select_slider(key="learn_model_rank").set_value(8).run()
    assert metrics(page)["Trained numbers"] == "2,442,240"
    assert any("134,515,008 parameters; the output layer is the embedding" in each.value for each in page.caption)
    page.file_uploader(key="learn_config").upload("config.json", b'{"model_type": "t5"}').run()
    assert "cannot build a language model" in page.error[0].value
    page.selectbox(key="learn_network").set_value("SmolLM2-135M · as a language model").run()
    assert any("as a language model. Full" in each.value for each in page.caption)


def test_the_printed_program_follows_its_rank(page):
    page.slider(key="learn_code_rank").set_value(2).run()
    _, program, output, _ = page.code
    assert "rank=2" in program.value
    assert "3,124 of 139,198 parameters train" in output.value


def test_a_link_restores_the_settings(page):
    app = draw("learn", learn_rank="8", learn_out="4096", learn_model="GPT-2 small")
    assert metrics(app)["LoRA"] == f"{8 * (1000 + 4096):,}"
    assert app.selectbox(key="learn_model").value == "GPT-2 small"


@pytest.mark.parametrize(
    "drawing",
    [
        *(
            draw(*shape)
            for draw in (diagram.matrices_full, diagram.matrices_lora)
            for shape in ((1000, 1000, 2), (512, 512, 512), (1, 65_536, 1), (65_536, 1, 1), (65_536, 65_536, 512))
        ),
        diagram.path_of_two_branches(100_352, 3_648),
        diagram.path_of_one_product(100_352),
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
        half = 4.25 * len(text.text or "")
        assert half <= float(text.attrib["x"]) <= width - half
        assert 0 < float(text.attrib["y"]) < height


def test_strips_are_drawn_to_scale():
    boxes = ElementTree.fromstring(diagram.matrices_lora(400, 800, 100)).iter(f"{SVG}rect")
    W, A, B, _ = ((float(box.attrib["width"]), float(box.attrib["height"])) for box in boxes)
    assert W == (88, 44)
    assert A == (11, 44)
    assert B == (88, 11)
