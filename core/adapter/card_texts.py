"""The text of model cards, and the code in them, which runs as it is printed."""

from __future__ import annotations

from string import Template

CARD = Template("""\
---
library_name: peft
tags:
- $tag
---

# $title adapter of run $run

$parameters trained parameters$head for a $network.
They work only with the base that they were trained on.

- Run: $run
- Base: $base, fingerprint$headless `$fingerprint`
$task- $title trains $method
$settings- Layers: $layers

| Measure | Value |
| --- | --- |
$results$alone$overlap
The input is $input, preprocessed as $preprocessed; the output is $outputs.$unused

$usage$weighted$data## Verification

When this file was written, it was read back and applied to a new copy of the base. On $rows inputs its logits differed
from those of the trained network by at most $reloaded, and merging changed them by at most $merged.
`certificate.json` has these values and the SHA-256 of the tensors.
""")

ALONE = Template("""
These values are of seed $seed alone, and other seeds of the same setting may have other ones. LoRA Lab's page Adapters
shows their mean.
""")

WEIGHTED = """\
PEFT's `model.add_weighted_adapter()` sums it with other adapters of the same base.

"""

NETWORK_FILE = Template("""\
## Load it with PEFT

$loading```python
import zipfile
from pathlib import Path

from core.network_file import read_network
from peft import PeftModel

base = read_network(Path("$base_file"))
with zipfile.ZipFile("$adapter_file") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
```

`model.merge_and_unload()` adds the adapter to the base's weights.

## Load it without PEFT

```python
from pathlib import Path

from core.adapter import apply_adapter, read_adapter
from core.network_file import read_network

base = read_network(Path("$base_file"))
model = apply_adapter(base, read_adapter(Path("$adapter_file"))).eval()
```

`python -m core verify $adapter_file --base $base_file` checks the file against the base.

""")

WITHOUT_LORA_LAB = Template("""\
Put `$adapter_file` and the base's weights, `$base_file`, into one folder. $where
This needs only PyTorch and PEFT:

```python
import zipfile
from collections import OrderedDict

from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

$code
base.load_state_dict(load_file("$base_file"))
with zipfile.ZipFile("$adapter_file") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
```

With LoRA Lab installed, its own network class can be used as the base:

""")

WITH_LORA_LAB = Template("""\
Put `$adapter_file` and the base's weights, `$base_file`, into one folder. $where
LoRA Lab reads the base:

""")

FOLDER = Template("""\
## Load it with PEFT

Put `$adapter_file` and the folder of the base, `base`, into one folder. $where

```python
import zipfile

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("base", padding_side="right")
base = AutoModelForSequenceClassification.from_pretrained(
    "base",
$arguments
)
with zipfile.ZipFile("$adapter_file") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()

tokenizer.pad_token = tokenizer.pad_token or tokenizer.convert_ids_to_tokens($padding)
$classes

def read(texts):
    \"\"\"The network's inputs: tokens$cut, with padding behind short texts.\"\"\"
    batch = tokenizer(texts, padding=True, truncation=True$longest, return_tensors="pt")
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


with torch.no_grad():
    logits = model(**read(["One text.", "Another one, which is longer."])).logits
$shown```

The adapter brings the head of the network, `$head`, as it was trained: from_pretrained draws another one, which PEFT
replaces. `model.merge_and_unload()` adds the adapter to the base's weights.

`python -m core verify $adapter_file --base base` checks the file against the base.

""")

LANGUAGE_FOLDER = Template("""\
## Load it with PEFT

Put `$adapter_file` and the folder of the base, `base`, into one folder. $where

```python
import math
import zipfile

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("base")
base = AutoModelForCausalLM.from_pretrained("base", dtype="float32")
with zipfile.ZipFile("$adapter_file") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()


$scoring```

`model.merge_and_unload()` adds the adapter to the base's weights.

`python -m core verify $adapter_file --base base` checks the file against the base.

""")

SCORE_TEXT = """\
def bits_per_byte(text):
    \"\"\"Of a whole text and its end. A first token that nothing precedes is not scored.\"\"\"
    ids = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    nats = -logs.gather(1, torch.tensor(ids[1:])[:, None]).sum().item()
    unscored = "" if ids[0] == tokenizer.bos_token_id else tokenizer.decode(ids[:1])
    return nats / math.log(2) / (len(text.encode()) - len(unscored.encode()))


print(bits_per_byte("A text."))
"""

SCORE_ANSWER = """\
def bits_per_byte(messages):
    \"\"\"Of the last message, an answer, as the chat template writes it after the others, which are not scored.\"\"\"
    before = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, tokenize=False)
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    has_start = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    read = tokenizer(text, add_special_tokens=not has_start, return_offsets_mapping=True)
    ids = read["input_ids"]
    scored = [place for place, (_, end) in enumerate(read["offset_mapping"]) if end > len(before)]
    with torch.no_grad():
        logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    nats = -sum(logs[place - 1, ids[place]].item() for place in scored)
    return nats / math.log(2) / len(text[len(before) :].encode())


question, answer = {"role": "user", "content": "A question?"}, {"role": "assistant", "content": "An answer."}
print(bits_per_byte([question, answer]))
"""
"""How an adapter that was trained on conversations scores one, in place of :data:`SCORE_TEXT`."""
