"""Library: datasets, networks, bases, and adapter files to verify."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from pages.library.adapter_files import upload_adapter
from pages.library.bases import bases_part
from pages.library.datasets import datasets_part
from pages.library.networks import networks_part
from pages.shared.ui.tabs import draw_tabs

PARTS = {"Datasets": datasets_part, "Networks": networks_part, "Bases": bases_part, "Adapter files": upload_adapter}

st.title("Library")
draw_tabs(PARTS, current())
