"""Whatever a request holds, reading it costs little; what is read is what the types of requests say."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.uploads.limits import MAX_TEXT
from core.errors import ServingError
from core.networks.perceptron import PerceptronSpec
from core.serving.inputs import READ, Images
from core.serving.request import (
    INVALID,
    MAX_INPUTS,
    MAX_LISTED,
    MAX_ROWS,
    SHAPE,
    AdaptersQuery,
    PredictRequest,
    parse,
    parse_query,
)
from core.web.predict import ADAPTERS, description
from tests import forked
from tests.serving.bodies import ATTACKS, MEMORY, SECONDS, UNKNOWN


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, Any]]:
    """What reading each request costs, in a process of its own."""
    done = forked.run(["-m", "tests.serving.bodies"])
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", [*ATTACKS, "largest"])
def test_no_request_costs_more_than_half_a_second_and_100_mb(costs: dict[str, dict[str, Any]], name: str) -> None:
    assert costs[name]["error"] == (ATTACKS[name].error if name in ATTACKS else "")
    assert costs[name]["seconds"] <= SECONDS
    assert costs[name]["memory"] <= MEMORY


def request(row: str, beside: str = "") -> bytes:
    return f'{{"rows": [{{{row}}}]{beside}}}'.encode()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xef\xbb\xbf" + request(""), INVALID),
        (request("") + b"]", INVALID),
        (request("", ","), INVALID),
        (request('"text": "\\ud800"'), INVALID),
        (request('"text": "\\x"'), INVALID),
        (request('"text": "a').replace(b"a", b"\xed\xa0\x80"), INVALID),
        (request('"text": "\n"'), INVALID),
        (request('"\\ud800": 0'), INVALID),
        (request('"pixels": [01]'), INVALID),
        (request('"pixels": [0.5,]'), INVALID),
        (b'{"rows": [{}}', INVALID),
        (b'{"rows": {}}', f"rows is wrong: input should be a valid array; {SHAPE}."),
        (b'["a text"]', f"The request is wrong: input should be an object; {SHAPE}."),
        (b'{"texts": ["a text"]}', f"texts is wrong: extra inputs are not permitted; {SHAPE}."),
        (b"{}", f"rows is wrong: field required; {SHAPE}."),
        (b'{"rows": []}', "rows is wrong: list should have at least 1 item."),
        (b'{"rows": [{}, 3]}', f"rows[1] is wrong: input should be an object; {SHAPE}."),
        (request('"pixels": [0, NaN]'), INVALID),
        (request('"pixels": [0, 1, -Infinity]'), INVALID),
        (request('"pixels": [1e999]'), "rows[0].pixels[0] is wrong: input should be a finite number."),
        (request('"pixels": [1.01]'), "rows[0].pixels[0] is wrong: input should be less than or equal to 1."),
        (request('"pixels": [0, -1]'), "rows[0].pixels[1] is wrong: input should be greater than or equal to 0."),
        (request('"pixels": [0, "]"]'), "rows[0].pixels[1] is wrong: input should be a valid number."),
        (request('"pixels": [true]'), "rows[0].pixels[0] is wrong: input should be a valid number."),
        (request('"pixels": []'), "rows[0].pixels is wrong: list should have at least 1 item."),
        (request('"pixels": "["'), "rows[0].pixels is wrong: input should be a valid array."),
        (request('"text": ["a"]'), "rows[0].text is wrong: input should be a valid string."),
        (request('"adapter": ""'), "rows[0].adapter is wrong: string should have at least 1 character."),
        (request("", ', "base": 3'), "base is wrong: input should be a valid string."),
        (request('"color": 3'), f"rows[0].color is wrong: extra inputs are not permitted; {SHAPE}."),
        (
            request('"a - at `$.base`": 3'),
            f"rows[0].a - at `$.base` {UNKNOWN}",
        ),
    ],
)
def test_what_is_no_request_is_refused_in_one_sentence_that_says_where(content: bytes, error: str) -> None:
    with pytest.raises(ServingError) as raised:
        parse(content)
    assert str(raised.value) == error
    assert parse(SHAPE[SHAPE.index("{") : SHAPE.rindex("}") + 1].encode()).rows[0].adapter == "RUN"


LENGTHS = {
    "rows": ('{"rows": [{}%s]}', MAX_ROWS - 1, f"list should have at most {MAX_ROWS} items"),
    "pixels": ('{"rows": [{"pixels": [0%s]}]}', MAX_INPUTS - 1, f"list should have at most {MAX_INPUTS} items"),
    "text": ('{"rows": [{"text": "%s"}]}', MAX_TEXT, f"string should have at most {MAX_TEXT} characters"),
    "adapter": ('{"rows": [{"adapter": "%s"}]}', 64, "string should have at most 64 characters"),
    "base": ('{"rows": [{}], "base": "%s"}', 96, "string should have at most 96 characters"),
}
"""Requests with a field of any length, how many more items or characters it may have, and what a longer one is told."""


@pytest.mark.parametrize(
    ("field", "part"),
    [("rows", ",{}"), ("pixels", ",1"), ("pixels", ",\n0." + "5" * 40)]
    + [(field, part) for field in ("text", "adapter", "base") for part in ("a", "\\n", "é", "😀", "\\ud83d\\ude00")],
)
def test_a_value_may_be_as_long_as_its_bound_however_it_is_written(field: str, part: str) -> None:
    text, most, error = LENGTHS[field]
    parse((text % (part * most)).encode())
    with pytest.raises(ServingError, match=f"{field} is wrong: {error}"):
        parse((text % (part * (most + 1))).encode())


PARTS = st.none() | st.booleans() | st.floats() | st.floats(0, 1) | st.text(max_size=3) | st.just([]) | st.just({})
VALUES = PARTS | st.lists(st.floats(0, 1) | st.integers(0, 1), max_size=3) | st.lists(PARTS, max_size=3)
OBJECTS = st.dictionaries(st.sampled_from(["pixels", "text", "adapter", "rows", '"', ""]), VALUES, max_size=3)
REQUESTS = st.fixed_dictionaries({"rows": st.lists(OBJECTS, max_size=3) | VALUES}, optional={"base": VALUES})


@given(
    asked=REQUESTS | OBJECTS | VALUES,
    indent=st.none() | st.integers(0, 2),
    escaped=st.booleans(),
    changes=st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 2), st.sampled_from([*'"\\,:{}[] 0.-é', ""])), max_size=2
    ),
)
def test_a_request_is_read_as_msgspec_reads_it_without_bounds_on_what_it_builds(
    asked: Any, indent: int | None, escaped: bool, changes: list[tuple[int, int, str]]
) -> None:
    text = json.dumps(asked, indent=indent, ensure_ascii=escaped)
    for start, removed, added in changes:
        text = text[:start] + added + text[start + removed :]
    content = text.encode(errors="surrogatepass")
    try:
        expected = msgspec.json.decode(content, type=PredictRequest)
    except ValueError:
        with pytest.raises(ServingError) as raised:
            parse(content)
        assert str(raised.value) == INVALID or re.fullmatch(
            rf"(?s).* is wrong: [a-z][a-z0-9 ]+(; {re.escape(SHAPE)})?\.", str(raised.value)
        )
    else:
        assert parse(content) == expected


@given(pixels=st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=3))
def test_a_network_reads_the_numbers_that_a_tensor_of_the_request_has(pixels: list[list[float]]) -> None:
    rows = parse(json.dumps({"rows": [{"pixels": row} for row in pixels]}).encode()).rows
    network = PerceptronSpec(num_features=4)
    read = READ["image"](rows, [0] * len(rows), network, lambda digest: pytest.fail(digest))
    assert isinstance(read, Images)
    assert torch.equal(read.pixels, torch.tensor(pixels))


def test_the_description_has_the_bounds_of_the_parser() -> None:
    schemas = description()["components"]["schemas"]
    row, asked = schemas["Row"]["properties"], schemas["PredictRequest"]["properties"]
    number = {"type": "number", "minimum": 0, "maximum": 1}
    null = {"type": "null"}
    assert row["pixels"]["anyOf"] == [{"type": "array", "items": number, "minItems": 1, "maxItems": MAX_INPUTS}, null]
    assert row["text"]["anyOf"] == [{"type": "string", "maxLength": MAX_TEXT}, null]
    assert row["adapter"]["anyOf"] == [{"type": "string", "minLength": 1, "maxLength": 64}, null]
    assert asked["base"]["anyOf"] == [{"type": "string", "minLength": 1, "maxLength": 96}, null]
    assert (asked["rows"]["minItems"], asked["rows"]["maxItems"]) == (1, MAX_ROWS)
    assert schemas["PredictRequest"]["required"] == ["rows"]
    assert not any(schemas[name]["additionalProperties"] for name in ("PredictRequest", "Row"))
    assert all("description" in schema for schema in schemas.values())
    assert all("description" in field for field in row.values())
    (limit, before) = (each["schema"] for each in description()["paths"][ADAPTERS]["get"]["parameters"])
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, MAX_LISTED, MAX_LISTED)
    assert before["anyOf"] == row["adapter"]["anyOf"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, AdaptersQuery()),
        ({"limit": "1", "before": "null"}, AdaptersQuery(1, "null")),
        ({"limit": f"{MAX_LISTED}", "before": "7"}, AdaptersQuery(MAX_LISTED, "7")),
        ({"limit": "0"}, "limit is wrong: input should be greater than or equal to 1."),
        ({"limit": f"{MAX_LISTED + 1}"}, f"limit is wrong: input should be less than or equal to {MAX_LISTED}."),
        ({"limit": "9" * 5000}, "limit is wrong: integer value out of range."),
        ({"limit": ""}, "limit is wrong: input should be a valid integer."),
        ({"before": ""}, "before is wrong: string should have at least 1 character."),
        ({"after": "r-1"}, "after is wrong: extra inputs are not permitted."),
    ],
)
def test_a_query_is_read_or_refused_in_one_sentence(texts: dict[str, str], expected: AdaptersQuery | str) -> None:
    if isinstance(expected, AdaptersQuery):
        assert parse_query(texts) == expected
    else:
        with pytest.raises(ServingError) as raised:
            parse_query(texts)
        assert str(raised.value) == expected
