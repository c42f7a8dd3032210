"""Conversations begin with a network that can chat, whichever was imported last."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.data.dataset import LanguageDataset
from core.data.passage import Passage
from core.lab import Lab
from tests.networks.tiny import save_tiny
from tests.pages.test_pages import draw
from tests.text_home import pets


def test_conversations_begin_with_the_network_that_can_chat_and_the_quick_plan(opened: Lab, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "chatty", "llama", seed=1)
    (folder / "chat_template.jinja").write_text(
        "{% for each in messages %}{{ each.role }} {{ each.content }} {% endfor %}"
    )
    chatty = opened.networks.import_folder(folder, "chatty")
    opened.networks.import_folder(save_tiny(tmp_path / "newer", "llama", seed=2), "newer")
    said = Passage(messages=(("user", "the cat"), ("assistant", "the dog sat")))
    labels = np.zeros(8, np.int64)
    opened.catalog.keep(LanguageDataset("upload", (said,) * 8, labels, (said,) * 8, labels), "talks")
    plain = (Passage.whole("the cat sat"),) * 8
    opened.catalog.keep(LanguageDataset("upload", plain, labels, plain, labels), "plain")
    app = draw("home")
    app.selectbox(key="home-dataset").set_value("digits").run()
    assert app.radio(key="home-plan").value == "thorough"
    app.selectbox(key="home-dataset").set_value("plain").run()
    assert app.selectbox(key="home-network").value != chatty.digest
    app.selectbox(key="home-dataset").set_value("talks").run()
    assert not app.exception
    assert [each.value for each in app.error] == []
    assert app.selectbox(key="home-network").value == chatty.digest
    assert app.radio(key="home-plan").value == "quick"
    with_links = draw("data")
    address = next(each for each in with_links.get("page_link") if "dataset=talks" in each.proto.query_string)
    assert f"base=language-{chatty.digest}" in address.proto.query_string
    begins = [each.proto for each in draw("networks").get("page_link") if each.proto.label.startswith("Fine-tune")]
    assert begins[2].label == "Fine-tune as a language model", "the newer one stands above"
    assert f"base=language-{chatty.digest}" in begins[2].query_string
    opened.catalog.remove("talks")
    opened.catalog.remove("plain")
    opened.catalog.keep(pets(), "pets")
    begins = [each.proto.label for each in draw("networks").get("page_link") if each.proto.label.startswith("Fine")]
    assert begins[2] == "Fine-tune this network", "its texts have labels"
