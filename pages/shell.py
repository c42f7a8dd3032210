"""The Streamlit script: page config, navigation, sidebar.

Runs before every page; a page is a folder with ``page.py``, and one more entry in :mod:`pages.shared.links`.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.errors import LabError
from core.lab import current
from pages.shared.links import sections
from pages.shared.literal import literal
from pages.shared.login import require_login
from pages.shared.sidebar import sidebar

HERE = Path(__file__).parent

st.set_page_config(
    page_title="LoRA Lab",
    page_icon=HERE / "icon.svg",
    layout="wide",
    menu_items={"About": "**LoRA Lab.** Full fine-tuning or LoRA, and at which rank, alpha and learning rate?"},
)
page = st.navigation(sections(), expanded=True)
require_login()
try:
    current().check()
except LabError as error:  # nothing can be shown without it, and every page would say so in its own way
    st.error(literal(str(error)), icon=":material/error:")
    st.stop()
st.logo(HERE / "logo.svg", icon_image=HERE / "icon.svg", size="large")
with st.sidebar:
    sidebar()
page.run()
