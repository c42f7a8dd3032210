"""The code of model cards from a person's own files to predictions, which runs as it is printed, without LoRA Lab:
preprocessing of images, and the accuracy on the test part of the file that was uploaded.
"""

from __future__ import annotations

from string import Template

IMAGES = Template("""\
## Read images

A picture is turned upright as its EXIF data say, made gray, and scaled to ${side}×$side pixels from 0 (black) to 1
(white). Nothing is cropped: what is not square is padded with the color of its corners.$transforms

```python
import numpy as np
import torch
from PIL import Image
$imports
$classes


def pixels(image):
    \"\"\"A row of the network's inputs. Args: image: as Image.open() or Image.fromarray() give it.\"\"\"
    orientation = image.getexif().get(0x0112, 1)
    if min(image.size) < $smallest:
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
    scale = $side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = gray.resize(size, Image.Resampling.BILINEAR)
    square = Image.new("L", ($side, $side), corners[1])
    square.paste(scaled, (($side - scaled.width) // 2, ($side - scaled.height) // 2))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF to Image.Transpose
    if orientation in turns:
        square = square.transpose(turns[orientation])
    x = torch.from_numpy(np.array(square)).float().div(255)
$steps    return x.reshape(-1)


def predict(image):
    \"\"\"The name of a picture's class.\"\"\"
    with torch.no_grad():
        return classes[model(pixels(image)[None]).argmax()]
```

""")

MEASURE_IMAGES = Template("""\
## Measure it on your files

Put the zip of class folders that you uploaded beside this, as `$file.zip`. This prints the accuracy in the table above,
on $tested. An upload without a test part had a fifth of each class held out, by a fixed draw. (Images from
an npz or a CSV of pixels: `pixels(Image.fromarray(array))`, with values from 0 to 255.)

```python
import io
import zipfile

PARTS = {$parts}
images = {}
with zipfile.ZipFile("$file.zip") as archive:
    for name in sorted(archive.namelist()):
        hidden = "__MACOSX" in name.split("/") or name.rpartition("/")[2].startswith(".")
        if name.lower().endswith(($endings)) and not hidden and name.split("/")[-2:][0] in classes:
            try:
                images[name] = pixels(Image.open(io.BytesIO(archive.read(name))))
            except Exception as error:  # such files were left out
                print("left out:", name, error)


def part(name):
    \"\"\"The part of the data, as the folder above the class says it.\"\"\"
    return PARTS.get(name.split("/")[-3].strip().lower()) if name.count("/") > 1 else None


parts = {part(name) for name in images}
held_out = "test" if "test" in parts else "validation"
test = [name for name in images if part(name) == held_out]
if "train" not in parts or not test:
    test = []
    for label, title in enumerate($named):
        own = [name for name in images if name.split("/")[-2] == title]
        drawn = np.random.RandomState([$seed, label]).permutation(len(own))
        test += [own[place] for place in drawn[: max($fewest, round($share * len(own)))]]
labels = {name: classes.index(name.split("/")[-2]) for name in test}
${kept}with torch.no_grad():
    predicted = model(torch.stack([images[name] for name in test])).argmax(1)
accuracy = 100 * (predicted == torch.tensor([labels[name] for name in test])).double().mean().item()
print(f"{len(test)} test images, accuracy {accuracy:.2f} %")
```

""")

MEASURE_TEXTS = Template("""\
## Measure it on your file

Put the table that you uploaded beside this, as `$file.csv`. This prints the accuracy in the table above, on
$tested. A file without a column of parts had a fifth of each class held out, by a fixed draw. If it is not separated by
commas, change the delimiter; for JSON lines, `rows = [json.loads(line) for line in file]`.

```python
import csv

import numpy as np

with open("$file.csv", encoding="utf-8-sig") as file:
    heads, *lines = [line for line in csv.reader(file, delimiter=",") if any(map(str.strip, line))]
heads = [head.strip() or f"column {number}" for number, head in enumerate(heads, 1)]
columns = []
for head in heads:  # of several with one name, the second is called "label (2)", as on the Data page
    name, number = head, 1
    while name in columns or (number > 1 and name in heads):
        number += 1
        name = f"{head} ({number})"
    columns.append(name)
rows = [dict(zip(columns, line)) for line in lines if len(line) == len(columns)]

PARTS = {$parts}
MISSING = ($missing)


def label_of(cell):
    \"\"\"The number of a cell's class, None if it names none; 1 and 1.0 are the same class.\"\"\"
    cell = str(cell).strip()
    try:
        number = float(cell)
        other = str(int(number)) if number == int(number) else str(number)
    except (ValueError, OverflowError):
        other = cell
    return next((classes.index(name) for name in (cell, other) if name in classes), None)


$columns

found = []
for row in rows:
    text, label = str(row[TEXT]).strip(), str(row[LABEL]).strip()
    if text and label not in MISSING:  # rows without text or label were left out
        found.append((text, label_of(label), PARTS.get(str(row[PART]).strip().lower()) if PART else None))
held_out = "test" if any(part == "test" for *_, part in found) else "validation"


def test_part(rows):
    test = [row for row in rows if row[2] == held_out]
    if not PART:
        test = []
        for label in range($count):
            own = [row for row in rows if row[1] == label]
            drawn = np.random.RandomState([$seed, label]).permutation(len(own))
            test += [own[place] for place in drawn[: max($fewest, round($share * len(own)))]]
    return $kept


$repeats
right = 0
for start in range(0, len(test), 32):
    texts, labels, _ = zip(*test[start : start + 32])
    with torch.no_grad():
        predicted = model(**read(list(texts))).logits.argmax(1)
    right += (predicted == torch.tensor(labels)).sum().item()
accuracy = 100 * right / len(test)
print(f"{len(test)} test texts, accuracy {accuracy:.2f} %")
```

""")

_WITHOUT_REPEATS = """\
def without_repeats(rows):
    best = {}
    for place, (text, label, part) in enumerate(rows):
        first = best.setdefault((text, label), place)
        if part == held_out and rows[first][2] != held_out:
            best[text, label] = place
    return [rows[place] for place in sorted(best.values())]


"""
REPEATS = {
    True: f"{_WITHOUT_REPEATS}test = test_part(without_repeats(found))  # repeated rows left out, as you chose",
    False: "test = test_part(found)  # repeated rows kept, as you chose",
    None: f"""\
{_WITHOUT_REPEATS}# Whether you left repeated rows out was not kept with this dataset: the number of test texts tells.
tests = [test_part(found), test_part(without_repeats(found))]
if tests[0] != tests[-1] and len(tests[0]) == len(tests[-1]):
    raise SystemExit(
        "There are as many test texts with repeated rows as without them. Set tests to [test_part(found)] if you kept "
        "these rows on the Data page, or to [test_part(without_repeats(found))] if you left them out."
    )
test = tests[0] if len(tests[0]) == $number else tests[-1]""",
}
"""Code that draws the test texts, by whether repeated rows were left out; None where that is not known."""

FOUND = Template("""\
# Which columns you chose was not kept with this dataset: these lines find them by what is in them.
columns = list(rows[0])
cells = {column: [str(row[column]).strip() for row in rows] for column in columns}


def the_one(name, found):
    \"\"\"The only one of some columns, None if there is none. Stops where it is not clear which one you chose.\"\"\"
    if len(found) > 1:
        raise SystemExit(f"{len(found)} columns can be {name}: {found}. Set {name} to the one that you chose.")
    return found[0] if found else None


kinds = {column: {PARTS.get(cell.lower()) for cell in cells[column]} for column in columns}
PART = the_one("PART", [name for name in columns if {"train"} < kinds[name] <= {*PARTS.values()}])
labels = {name: {label_of(cell) for cell in cells[name] if cell not in MISSING} for name in columns}
LABEL = the_one("LABEL", [name for name in columns if name != PART and labels[name] == {*range($count)}])
if LABEL is None:
    raise SystemExit(f"No column has the classes and nothing else: set LABEL to the one that you chose of {columns}.")
TEXT = max({*columns} - {PART, LABEL}, key=lambda column: sum(map(len, cells[column])))
print(f"Found by what is in them: the texts in {TEXT!r}, their labels in {LABEL!r}, the parts in {PART!r}.")""")
