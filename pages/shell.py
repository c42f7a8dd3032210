"""The Streamlit script: page config, navigation, sidebar.

Streamlit runs it before every page. A page is a folder with a ``page.py`` and an entry in :mod:`pages.shared.ui.links`.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.errors import LabError
from core.lab import current
from pages.shared.experiment.sidebar import sidebar
from pages.shared.ui.back import one_step_back
from pages.shared.ui.links import sections
from pages.shared.ui.literal import literal
from pages.shared.ui.login import require_login

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
except LabError as error:  # no page works without the lab, so one message here replaces one per page
    st.error(literal(str(error)), icon=":material/error:")
    st.stop()
st.logo(HERE / "logo.svg", icon_image=HERE / "icon.svg", size="large")
with st.sidebar:
    sidebar()
    one_step_back()
page.run()
