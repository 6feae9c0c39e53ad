"""The reader of what others wrote: what is refused, in which words, and that nothing in a text can hurt."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.cli import run
from autoshrink.errors import InputError
from autoshrink.untrusted import MOST_BYTES, brief, parse_json, read_json, read_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_json_is_read_as_it_is(value: object, escaped: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=indent)
    assert parse_json(text) == value
    assert parse_json(text.encode()) == value


@given(st.text(alphabet='[]{},:"\\u0dcE+-.e19 NaInfity\n', max_size=60))
def test_nothing_but_our_error_leaves_it(text: str) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        expected = None
    found = None
    with suppress(InputError):
        found = parse_json(text)
    assert found in (None, expected)


REFUSED = {
    "[" * 10_000: r"nested more than 64 deep",
    '{"a":' * 10_000: r"nested more than 64 deep",
    '{"a":\n ' + "9" * 5_000 + "}": r"a number of 5,000 characters, 999999999999…; ours have 40",
    "[1, -1e999]": r"-1e999 is beyond every float64",
    "[NaN]": r"NaN is no number",
    "[-Infinity]": r"-Infinity is no number",
    '{"width": 3,\n "width": 4}': r"the name 'width' stands twice in one object",
    '{"a": {"b": [{"x": "x"}], "b": 1}}': r"the name 'b' stands twice in one object",
    '{"a": 1, "\\u0061": 2}': r"the name 'a' stands twice in one object",
    '["' + "é" * 400 + '", "\\ud800"]': r"'\\ud800' holds half a character",
    "[²]": r"not JSON \(line 1, column 2: Expecting value\)",
    '{"a": 1}\0': r"not JSON \(line 1, column 9: Extra data\)",
    '["a\0b"]': r"not JSON \(line 1, column 4: Invalid control character at\)",
    "": r"not JSON \(line 1, column 1: Expecting value\)",
    '["' + '\\"' * 100_000 + "[" * 100: r"not JSON \(line 1, column 2: Unterminated string starting at\)",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_no_format_of_ours_has_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$") as caught:
        parse_json(text)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "12.5E+999", "-0.25e999", "9" * 400, "-1" + "0" * 60, "1." + "3" * 60]
)
@pytest.mark.parametrize(
    "place", ["{}", " {}", "[{}]", "[0,{}]", "[0, {}]", '{{"a":{}}}', '{{"a":\n{}}}', '["3e123",{}]']
)
def test_no_number_beyond_a_float_hides_in_its_place(place: str, number: str) -> None:
    with pytest.raises(InputError, match=r"beyond every float64|a number of \d+ characters"):
        parse_json(place.format(number))


def test_hexadecimal_is_no_number() -> None:
    text = "1" * 300 + "e999" + "3e123"
    assert parse_json(json.dumps([text, f"12:{text}", {text: "NaN"}])) == [text, f"12:{text}", {text: "NaN"}]


def test_hostile_texts_take_no_time() -> None:
    began = time.process_time()
    for text in (
        '"' + '\\"' * 500_000,
        '"' * 500_000,
        "[" * 1_000_000,
        "[],[]," * 200_000,
        "1" * 1_000_000,
        "[" + "{}," * 200_000,
    ):
        with pytest.raises(InputError):
            parse_json(text)
    assert time.process_time() - began < 5


def test_too_many_bytes_are_not_read(tmp_path: Path) -> None:
    """A sparse file of 100 GB, of which a terabyte could be asked for as well."""
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(100 * 10**9)
    with pytest.raises(InputError, match=rf"sparse.json: 100,000,000,000 bytes; at most {MOST_BYTES:,} are read"):
        read_json(tmp_path / "sparse.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cell.json")
    with pytest.raises(InputError, match=r"pipe.cell.json: a pipe or a device, not a file; save what it gives"):
        read_text(tmp_path / "pipe.cell.json")


def test_bytes_that_are_no_text_are_said(tmp_path: Path) -> None:
    path = tmp_path / "latin.cell.json"
    path.write_bytes(b'{"kind": "caf\xe9"}')
    with pytest.raises(InputError, match=r"latin.cell.json: cannot be read as text: not UTF-8 \(byte 0xe9 at 13\)"):
        read_json(path)
    path.write_bytes(b'\xef\xbb\xbf{"kind": 1}')
    assert read_json(path) == {"kind": 1}, "a byte order mark, as Windows puts it, is no damage"


def test_what_a_message_quotes_is_short() -> None:
    assert brief("x" * 10**7) == "'" + "x" * 56 + "…"
    assert brief(10**10_000) == "a int too long to be shown"
    assert brief([1, 2]) == "[1, 2]"


@pytest.mark.parametrize("command", ["show", "cost"])
@pytest.mark.parametrize("name", ["x" * 400, "x" * 400 + ".json", "a\0b", "a\0b.json", "²"])
def test_a_name_that_no_file_can_have_is_one_line(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, name]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("autoshrink: ")
    assert len(told.err.splitlines()) == 1
    assert len(told.err) < 700
