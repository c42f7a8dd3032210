"""Uploaded datasets: read within limits, checked, and previewed before they are saved.

Images come as a zip, an npz or a CSV of pixels, and are converted to 28×28 gray; texts come as a table, and passages
for language models as a table or a plain text.
"""

from core.data.dataset import TextColumns
from core.data.uploads.classes import Draft, Faults
from core.data.uploads.image_draft import first_images, samples
from core.data.uploads.image_files import read_upload
from core.data.uploads.limits import MAX_BYTES
from core.data.uploads.passage_draft import draft_passages, likely_topic, topic_columns
from core.data.uploads.passage_forms import (
    PassageColumns,
    PassageForm,
    columns_for,
    columns_of,
    form_of,
    forms_for,
    guess_passages,
    is_for_language,
)
from core.data.uploads.text_columns import Guess, TextTable, guess, samples_of, short_name
from core.data.uploads.text_draft import draft_texts, first_texts
from core.data.uploads.text_file import read_passages, read_text_table, read_texts

__all__ = [
    "MAX_BYTES",
    "Draft",
    "Faults",
    "Guess",
    "PassageColumns",
    "PassageForm",
    "TextColumns",
    "TextTable",
    "columns_for",
    "columns_of",
    "draft_passages",
    "draft_texts",
    "first_images",
    "first_texts",
    "form_of",
    "forms_for",
    "guess",
    "guess_passages",
    "is_for_language",
    "likely_topic",
    "read_passages",
    "read_text_table",
    "read_texts",
    "read_upload",
    "samples",
    "samples_of",
    "short_name",
    "topic_columns",
]
