"""The template of model cards, in Jinja's language; the code in it runs as it is printed.

The filter ``plain`` makes any text harmless in Markdown, and ``code`` writes a value in Python.
"""

from __future__ import annotations

TEMPLATE = r'''---
library_name: peft
tags:
- {{ method.peft.peft_type.lower() }}
---

# {{ method.title }} adapter of run {{ card.run | plain }}

{{ "{:,}".format(certificate.parameters) }} trained parameters{{ in_head }} for a {{ network.text | plain }}.
They work only with the base that they were trained on.

- Run: {{ card.run | plain }}
- Base: {{ base }}, fingerprint{{ headless }} `{{ certificate.base_fingerprint }}`
{% for line in card.lines %}
- {{ line | plain }}
{% endfor %}
- {{ method.title }} trains {{ method.line }}
{% if method.card_line %}
- {{ method.card_line }}
{% endif %}
- Layers: {{ layers }}

| Measure | Value |
| --- | --- |
{% for name, value in card.results.items() %}
| {{ name | plain }} | {{ value | plain }} |
{% endfor %}

{% if card.seed is not none %}
These values are of seed {{ card.seed }} alone; LoRA Lab shows the mean of all seeds of this setting beside the adapter.
{% endif %}
{{ overlap | plain }}

The input is {{ network.input_text }}, preprocessed as {{ "below" if reads else "in training" }}; the output is
{{ "the logits of each next token" if is_causal else "of shape (n, %d)" % network.num_classes }}.

## Load it with PEFT

Put `{{ adapter_file }}` and the base, `{{ base_file }}`, into one folder.
{% if not folder %}
The base is what LoRA Lab offers as *Base*, beside the adapter.
{% elif card.base %}
The base is what the zip `{{ card.base | plain }}-hugging-face.zip` unpacks to, which LoRA Lab makes of that run.
{% else %}
The base is a folder with config, tokenizer and weights of the network named above; LoRA Lab's Library names it.
Only if the network was imported from Hugging Face, its name in place of `"base"` loads the same weights from there.
{% endif %}

```python
import zipfile
{% if is_causal %}
import math

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("base")
base = AutoModelForCausalLM.from_pretrained("base", dtype="float32")
{% elif folder %}

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("base", padding_side="right")
base = AutoModelForSequenceClassification.from_pretrained(
    "base",
{% for name, value in network.pretrained.items() %}
    {{ name }}={{ value | code }},
{% endfor %}
)
{% elif network.torch_code %}
from collections import OrderedDict

from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

{{ network.torch_code }}
base.load_state_dict(load_file("{{ base_file }}"))
{% else %}
from pathlib import Path

from core.network_file import read_network
from peft import PeftModel

base = read_network(Path("{{ base_file }}"))
{% endif %}
with zipfile.ZipFile("{{ adapter_file }}") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
{% if is_causal %}


def bits_per_byte({{ "messages" if has_messages else "text" }}):
{% if has_messages %}
    """Of the last message, an answer, as the chat template writes it after the others, which are not scored."""
    before = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, tokenize=False)
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    has_start = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    read = tokenizer(text, add_special_tokens=not has_start, return_offsets_mapping=True)
    ids = read["input_ids"]
    scored = [place for place, (_, end) in enumerate(read["offset_mapping"]) if end > len(before)]
{% else %}
    """Of a whole text and its end. A first token that nothing precedes is not scored."""
    ids = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
    before = "" if ids[0] == tokenizer.bos_token_id else tokenizer.decode(ids[:1])
    scored = range(1, len(ids))
{% endif %}
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    nats = -sum(logs[place - 1, ids[place]].item() for place in scored)
    return nats / math.log(2) / (len(text.encode()) - len(before.encode()))


{% if has_messages %}
question, answer = {"role": "user", "content": "A question?"}, {"role": "assistant", "content": "An answer."}
print(bits_per_byte([question, answer]))
{% else %}
print(bits_per_byte("A text."))
{% endif %}
{% elif folder %}

tokenizer.pad_token = tokenizer.pad_token or tokenizer.convert_ids_to_tokens({{ network.padding }})
{{ "classes = " + classes if card.names else "" }}


def read(texts):
    """The network's inputs: tokens, cut off after the longest input, and padding behind short texts."""
    longest = {{ card.task.length if card.task else none }}
    batch = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


with torch.no_grad():
    logits = model(**read(["One text.", "Another one, which is longer."])).logits
{{ "print([classes[label] for label in logits.argmax(1)])" if card.names else "print(logits)" }}
{% endif %}
```

{% if head %}
The adapter has the head of the network, `{{ head | join("`, `") }}`, as trained: PEFT replaces that of the base.
{% endif %}
`model.merge_and_unload()` adds the adapter to the base's weights, and
`python -m core verify {{ adapter_file }} --base {{ base_file }}` checks the file against the base.
{% if method.is_low_rank and not head %}
PEFT's `model.add_weighted_adapter()` sums it with other adapters of the same base.
{% endif %}
{% if reads and not folder %}

## Read images

A picture is turned upright as its EXIF data say, made gray, and scaled to {{ side }}×{{ side }} pixels from 0 (black)
to 1 (white). Nothing is cropped: what is not square is padded with the color of its corners.

```python
import numpy as np
import torch
from PIL import Image
{{ "from torchvision.transforms import InterpolationMode, functional\n" if card.task.rotation else "" }}
classes = {{ classes }}


def pixels(image):
    """A row of the network's inputs. Args: image: as Image.open() or Image.fromarray() give it."""
    orientation = image.getexif().get(0x0112, 1)
    if min(image.size) < {{ smallest }}:
        raise ValueError("too small")
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image).astype("int64").clip(0, 65535) >> 8).astype("uint8"))
    elif "A" in image.getbands() or "transparency" in image.info:  # what is transparent becomes white
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    gray = image.convert("L")
    width, height = gray.size
    corners = sorted(gray.getpixel((x, y)) for x in (0, width - 1) for y in (0, height - 1))
    scale = {{ side }} / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = gray.resize(size, Image.Resampling.BILINEAR)
    square = Image.new("L", ({{ side }}, {{ side }}), corners[1])
    square.paste(scaled, (({{ side }} - scaled.width) // 2, ({{ side }} - scaled.height) // 2))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF to Image.Transpose
    if orientation in turns:
        square = square.transpose(turns[orientation])
    x = torch.from_numpy(np.array(square)).float().div(255)
{% if card.task.rotation %}
    x = functional.rotate(x[None, None], {{ card.task.rotation }}, InterpolationMode.BILINEAR)[0, 0]
{% endif %}
{% if card.task.invert %}
    x = 1 - x
{% endif %}
{% if card.task.permutation is not none %}
    x = x.reshape(-1)[np.random.RandomState({{ card.task.permutation }}).permutation({{ side * side }})]
{% endif %}
    return x.reshape(-1)


def predict(image):
    """The name of a picture's class."""
    with torch.no_grad():
        return classes[model(pixels(image)[None]).argmax()]
```
{% endif %}
{% if measures %}

## Measure it on your file

Put the {{ "table" if folder else "zip of class folders" }} that you uploaded beside this, as `{{ data_file }}`. It is
read to print the accuracy in the table above. Without a test part, a fifth of each class was held out, by a fixed draw.

```python
import {{ "csv" if folder else "io" }}

import numpy as np

found = []
{% if folder %}
TEXT, LABEL, PART = {{ (columns.text, columns.label, columns.part) | code }}  # columns as you chose them

# For another separator, change the delimiter; for JSON lines, rows = [json.loads(line) for line in file].
with open("{{ data_file }}", encoding="utf-8-sig") as file:
    heads, *lines = [line for line in csv.reader(file, delimiter=",") if any(map(str.strip, line))]
heads = [head.strip() or f"column {number}" for number, head in enumerate(heads, 1)]
columns = []
for head in heads:  # of several with one name, the second is called "label (2)", as on the Data page
    before = heads[: len(columns)].count(head)
    columns.append(f"{head} ({before + 1})" if before else head)
rows = [dict(zip(columns, line)) for line in lines if len(line) == len(columns)]


def label_of(cell):
    """The number of a cell's class, None if it names none; 1 and 1.0 are the same class."""
    try:
        return classes.index(cell if cell in classes else str(float(cell)).removesuffix(".0"))
    except ValueError:
        return None


for row in rows:
    text, label = str(row[TEXT]).strip(), str(row[LABEL]).strip()
    if text and label not in {{ missing | code }}:  # rows without text or label were left out
        found.append((text, label_of(label), str(row[PART]) if PART else ""))
{% else %}
with zipfile.ZipFile("{{ data_file }}") as archive:
    for name in sorted(archive.namelist()):
        *above, folder, file = ["", "", *name.split("/")]
        hidden = "__MACOSX" in above or file.startswith(".")
        if file.lower().endswith({{ endings | code }}) and not hidden and folder in classes:
            try:
                image = Image.open(io.BytesIO(archive.read(name)))
                found.append((pixels(image), classes.index(folder), above[-1]))
            except Exception as error:  # such files were left out
                print("left out:", name, error)
{% endif %}

PARTS = dict({{ parts.items() | list | code }})
found = [(example, label, PARTS.get(word.strip().lower())) for example, label, word in found]
parts = {part for *_, part in found}
held_out = "test" if "test" in parts else "validation"
{% if folder and columns.without_repeats %}
found.sort(key=lambda row: row[2] == held_out)  # repeated rows left out, as you chose: one of the test part stays
found = list({(text, label): (text, label, part) for text, label, part in found}.values())
{% endif %}
test = [row for row in found if row[2] == held_out]
if "train" not in parts or not test:
    test = []
    for label in range({{ card.names | length }}):
        same = [row for row in found if row[1] == label]
        drawn = np.random.RandomState([{{ seed }}, label]).permutation(len(same))
        test += [same[place] for place in drawn[: max({{ fewest }}, round({{ share }} * len(same)))]]
test = [row for row in test if row[1] in {{ kept | code }}]
right = 0
for start in range(0, len(test), 32):
    examples, labels, _ = zip(*test[start : start + 32])
    with torch.no_grad():
        predicted = {{ "model(**read(list(examples))).logits" if folder else "model(torch.stack(examples))" }}.argmax(1)
    right += (predicted == torch.tensor(labels)).sum().item()
accuracy = 100 * right / len(test)
print(f"{len(test)} test {{ "texts" if folder else "images" }}, accuracy {accuracy:.2f} %")
```
{% endif %}

## Verification

When this file was written, it was read back and applied to a new copy of the base. On {{ certificate.probe_rows }}
inputs its logits differed from those of the trained network by at most {{ "%.2g" % certificate.reloaded_difference }},
and merging changed them by at most {{ "%.2g" % certificate.merged_difference }}. `certificate.json` has these values,
and `task.json` the base and the task.
'''
