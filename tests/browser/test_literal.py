"""``literal`` in a real browser: every element shows escaped text verbatim, without markup."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Serve

pytestmark = pytest.mark.browser

NASTY = [
    "plain words",
    "*a* **b** _c_ __d__ ~~e~~ ~f~ `g` ``h``",
    ":material/warning: and :material_warning: and :streamlit:",
    ":smile: :+1: :-1: :100: :heart:: :) :-D",
    ":red[red] :blue-background[blue] :orange-badge[badge] :small[small] :shimmer[x] :help[y]",
    ":color[z]{foreground=red} {#id} {.class}",
    "::leaf[x]{#id} :::container",
    "[link](https://example.org) ![image](https://example.org/x.png) <https://example.org>",
    "http://example.org https://example.org/a_b?c=d#e www.example.org HTTP://EXAMPLE.ORG",
    "a@example.org mailto:a@example.org xmpp:a@example.org/b",
    "[^1] [x] [ ] [a]: /url",
    "$x^2$ and $$y$$ and \\(z\\) and 5$ to 6$",
    "<br> <b>bold</b> <script>alert(1)</script> <!-- comment --> &lt; &amp; &#58; &colon;",
    "a -> b <- c <-> d -- e >= f <= g ~= h",
    "->",
    "--",
    "-- x",
    ":-> x",
    "# heading",
    "###### heading",
    "- item",
    "+ item",
    "* item",
    "+",
    "-",
    "1. first",
    "12) twelfth",
    "> quote",
    "---",
    "***",
    "===",
    "```code",
    "~~~code",
    "| a | b |",
    "- [ ] task",
    "-1.5",
    "=1+1",
    "back\\slash \\* \\\\",
    "trailing backslash\\",
    "'single' \"double\" (c) ... 1/2",
    "line one\nline two",
    "title\n=====",
    "title\n-----",
    "| a | b |\n|---|---|\n| c | d |",
    "para\n\n    code\n\n- item\n1. item\n> quote\n# heading",
    "\n\n lines around \n\n",
    "    four spaces",
    "\ttab",
    "{curly} {{x}} %{x} {0}",
    "café ☕ 中文 日本語 🙂 ﷽",
    "x" * 90,
]

SCRIPT = """
import json
import sys
from pathlib import Path

import streamlit as st

from pages.shared.ui.literal import literal

texts = json.loads(Path(__file__).with_name("texts.json").read_text())
kind = st.query_params["kind"]
for place, text in enumerate(texts):
    shown = literal(text)
    if kind == "toast" and place in {2, 3, 7}:
        st.toast(shown, duration="infinite")
    with st.container(key=f"place-{place}"):
        match kind:
            case "markdown":
                st.markdown(shown)
            case "bold":
                st.markdown(f"**{shown}**")
            case "item":
                st.markdown(f"- {shown}")
            case "caption":
                st.caption(shown)
            case "among":
                st.caption(f"before · {shown} · after")
            case "error":
                st.error(shown)
            case "warning":
                st.warning(shown, icon=":material/warning:")
            case "success":
                st.success(shown)
            case "metric":
                st.metric(shown, "1")
            case "expander":
                st.expander(shown)
            case "radio":
                st.radio(shown, ["one"], key=f"radio-{place}")
            case "selectbox":
                st.selectbox(shown, ["one"], key=f"select-{place}")
            case "pills":
                st.pills("Label", [shown], key=f"pills-{place}", label_visibility="collapsed")
            case "button":
                st.button(shown, key=f"button-{place}")
            case "link":
                st.page_link("https://localhost/", label=shown)
            case "progress":
                st.progress(0.5, shown)
            case "image":
                st.image(b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>".decode(), caption=shown)
            case "table":
                st.table({"Title": [shown]}, hide_index=True)
st.markdown("All drawn")
"""

LABELS = {
    "markdown": "stMarkdownContainer",
    "bold": "stMarkdownContainer",
    "item": "stMarkdownContainer",
    "caption": "stCaptionContainer",
    "among": "stCaptionContainer",
    "error": "stMarkdownContainer",
    "warning": "stMarkdownContainer",
    "success": "stMarkdownContainer",
    "metric": "stMetricLabel",
    "expander": "stMarkdownContainer",
    "radio": "stWidgetLabel",
    "selectbox": "stWidgetLabel",
    "pills": "stMarkdownContainer",
    "button": "stMarkdownContainer",
    "link": "stMarkdownContainer",
    "progress": "stMarkdownContainer",
    "image": "stImageCaption",
    "table": "stMarkdownContainer",
}
"""Test id of the node that contains the text, by element."""

MADE = (
    "a, img, code, pre, h1, h2, h3, h4, h5, h6, ul, ol, blockquote, hr, em, strong, del, table, input, sup, .katex, "
    "[role=img], [role=checkbox], [style], .stMarkdownBadge"
)
"""CSS selector of everything that markdown can create."""

READ = """
([count, label, made]) => [...Array(count).keys()].map((place) => {
  const element = [...document.querySelectorAll(`.st-key-place-${place} [data-testid="${label}"]`)].at(-1);
  return [element.innerText, [...element.querySelectorAll(made)].map((part) => part.localName)];
})
"""
"""What is shown at each place and what was made of it, in one call: one per text costs more than drawing them."""


def words(text: str) -> str:
    """Collapse white space, as HTML does."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def url(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("script")
    (folder / "texts.json").write_text(json.dumps(NASTY))
    (folder / "script.py").write_text(SCRIPT)
    return serve(folder / "script.py")


def wrong(page: Page, kind: str) -> list[str]:
    """Return a sentence for each text that is not shown verbatim."""
    found, usual = [], None
    for text, (shown, made) in zip(NASTY, page.evaluate(READ, [len(NASTY), LABELS[kind], MADE]), strict=True):
        usual = made if usual is None else usual  # plain words show which nodes belong to the element itself
        expected = f"before · {words(text)} · after" if kind == "among" else words(text)
        if words(shown) != expected:
            found.append(f"{text!r} is shown as {shown!r}")
        if made != usual:
            found.append(f"{text!r} became {made}")
    return found


def drawn(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text("All drawn", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


@pytest.mark.parametrize("kind", list(LABELS))
def test_an_element_shows_text_verbatim(page: Page, url: str, console_errors: list[str], kind: str) -> None:
    drawn(page, f"{url}/?kind={kind}")
    assert wrong(page, kind) == []
    assert console_errors == []


def test_a_toast_shows_text_verbatim(page: Page, url: str) -> None:
    drawn(page, f"{url}/?kind=toast")
    for place in (2, 3, 7):
        toast = page.get_by_test_id("stToast").filter(has_text=NASTY[place])
        expect(toast).to_have_count(1)
        expect(toast.locator("a, img, [role=img]")).to_have_count(0)


def test_what_is_copied_is_what_was_typed(page: Page, url: str) -> None:
    drawn(page, f"{url}/?kind=markdown")
    for place, text in enumerate(NASTY):
        copied = page.locator(f".st-key-place-{place}").evaluate(
            "element => { getSelection().selectAllChildren(element); return getSelection().toString(); }"
        )
        assert words(copied) == words(text)
