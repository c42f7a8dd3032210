"""The Streamlit script: page config, navigation, sidebar.

Runs before every page; a page is one more entry in ``SECTIONS``.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.errors import LabError
from core.lab import current
from pages.parts.literal import literal
from pages.parts.login import require_login
from pages.parts.sidebar import sidebar

HERE = Path(__file__).parent

SECTIONS = {
    "": [
        st.Page("home.py", title="Home", icon=":material/home:", default=True),
    ],
    "Train": [
        st.Page("pretrain.py", title="Pretrain", icon=":material/school:", url_path="pretrain"),
        st.Page("finetune.py", title="Fine-tune", icon=":material/tune:", url_path="finetune"),
        st.Page("sweep.py", title="Sweep", icon=":material/grid_on:", url_path="sweep"),
        st.Page("data.py", title="Data", icon=":material/database:", url_path="data"),
    ],
    "Results": [
        st.Page("runs.py", title="Runs", icon=":material/list:", url_path="runs"),
        st.Page("compare.py", title="Compare", icon=":material/stacked_line_chart:", url_path="compare"),
        st.Page("report.py", title="Report", icon=":material/description:", url_path="report"),
        st.Page("weights.py", title="Weights", icon=":material/grid_4x4:", url_path="weights"),
        st.Page("adapters.py", title="Adapters", icon=":material/extension:", url_path="adapters"),
    ],
    "Understand": [
        st.Page("learn.py", title="Learn", icon=":material/menu_book:", url_path="learn"),
    ],
}

st.set_page_config(
    page_title="LoRA Lab",
    page_icon=HERE / "icon.svg",
    layout="wide",
    menu_items={"About": "**LoRA Lab.** Full fine-tuning or LoRA, and at which rank, alpha and learning rate?"},
)
page = st.navigation(SECTIONS, expanded=True)
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
