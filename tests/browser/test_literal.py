"""``literal`` in a real browser: every element shows escaped text verbatim, without markup."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Serve, new_context, note_errors

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

IMAGE = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"

ELEMENTS = {
    "markdown": ("st.markdown(shown)", "stMarkdownContainer"),
    "bold": ("st.markdown(f'**{shown}**')", "stMarkdownContainer"),
    "item": ("st.markdown(f'- {shown}')", "stMarkdownContainer"),
    "caption": ("st.caption(shown)", "stCaptionContainer"),
    "among": ("st.caption(f'before · {shown} · after')", "stCaptionContainer"),
    "error": ("st.error(shown)", "stMarkdownContainer"),
    "warning": ("st.warning(shown, icon=':material/warning:')", "stMarkdownContainer"),
    "success": ("st.success(shown)", "stMarkdownContainer"),
    "metric": ("st.metric(shown, '1')", "stMetricLabel"),
    "expander": ("st.expander(shown)", "stMarkdownContainer"),
    "radio": ("st.radio(shown, ['one'], key=f'radio {place}')", "stWidgetLabel"),
    "selectbox": ("st.selectbox(shown, ['one'], key=f'select {place}')", "stWidgetLabel"),
    "pills": ("st.pills('Label', [shown], key=f'pill {place}', label_visibility='collapsed')", "stMarkdownContainer"),
    "button": ("st.button(shown, key=f'press {place}')", "stMarkdownContainer"),
    "link": ("st.page_link('https://localhost/', label=shown)", "stMarkdownContainer"),
    "progress": ("st.progress(0.5, shown)", "stMarkdownContainer"),
    "image": (f"st.image({IMAGE!r}, caption=shown)", "stImageCaption"),
    "table": ("st.table({'Title': [shown]}, hide_index=True)", "stMarkdownContainer"),
}
"""How each element is drawn, and the test id of the node that contains the text."""

SCRIPT = """
import json
from itertools import product
from pathlib import Path

import streamlit as st

from pages.shared.ui.literal import literal

texts, elements = json.loads(Path(__file__).with_name("texts.json").read_text())
for place in 2, 3, 7:
    st.toast(literal(texts[place]), duration="infinite")
for (kind, (drawing, _)), (place, text) in product(elements.items(), enumerate(texts)):
    shown = literal(text)
    with st.container(key=f"{kind}-{place}"):
        exec(drawing)
st.markdown("All drawn")
"""

MADE = (
    "a, img, code, pre, h1, h2, h3, h4, h5, h6, ul, ol, blockquote, hr, em, strong, del, table, input, sup, .katex, "
    "[role=img], [role=checkbox], [style], .stMarkdownBadge"
)
"""CSS selector of everything that markdown can create."""

READ = """
([count, kind, label, made]) => [...Array(count).keys()].map((place) => {
  const element = [...document.querySelectorAll(`.st-key-${kind}-${place} [data-testid="${label}"]`)].at(-1);
  return [element.innerText, [...element.querySelectorAll(made)].map((part) => part.localName)];
})
"""
"""What is shown at each place and what was made of it, in one call: one per text costs more than drawing them."""


def words(text: str) -> str:
    """Collapse white space, as HTML does."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def drawn(
    serve: Serve, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Page, list[str]]]:
    """A page with every text in every element, and the errors that it logs."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "texts.json").write_text(json.dumps([NASTY, ELEMENTS]))
    (folder / "script.py").write_text(SCRIPT)
    context = new_context(chromium)
    page, errors = context.new_page(), list[str]()
    note_errors(page, errors)
    page.goto(serve(folder / "script.py"))
    expect(page.get_by_text("All drawn", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    yield page, errors
    context.close()


def wrong(page: Page, kind: str) -> list[str]:
    """Return a sentence for each text that is not shown verbatim."""
    found, usual = [], None
    for text, (shown, made) in zip(
        NASTY, page.evaluate(READ, [len(NASTY), kind, ELEMENTS[kind][1], MADE]), strict=True
    ):
        usual = made if usual is None else usual  # plain words show which nodes belong to the element itself
        expected = f"before · {words(text)} · after" if kind == "among" else words(text)
        if words(shown) != expected:
            found.append(f"{text!r} is shown as {shown!r}")
        if made != usual:
            found.append(f"{text!r} became {made}")
    return found


def test_every_element_shows_text_verbatim(drawn: tuple[Page, list[str]]) -> None:
    page, errors = drawn
    assert {kind: found for kind in ELEMENTS if (found := wrong(page, kind))} == {}
    for place in (2, 3, 7):
        toast = page.get_by_test_id("stToast").filter(has_text=NASTY[place])
        expect(toast).to_have_count(1)
        expect(toast.locator("a, img, [role=img]")).to_have_count(0)
    assert errors == []


def test_what_is_copied_is_what_was_typed(drawn: tuple[Page, list[str]]) -> None:
    for place, text in enumerate(NASTY):
        copied = (
            drawn[0]
            .locator(f".st-key-markdown-{place}")
            .evaluate("element => { getSelection().selectAllChildren(element); return getSelection().toString(); }")
        )
        assert words(copied) == words(text)
