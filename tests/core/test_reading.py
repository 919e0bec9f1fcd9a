"""The guarded reader of JSON and TOML: whatever the bytes are, plain values or one sentence."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from blinddps.core import InputError, PriorError
from blinddps.core.reading import parse_json, parse_toml, read_json, read_toml

DEEP = 100_000
BAD_JSON = {
    "nested": (b"[" * DEEP + b"]" * DEEP, "nested deeper than 64 levels"),
    "nested a little too deep": (b"[" * 65 + b"]" * 65, "nested deeper than 64 levels"),
    "nested objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested deeper than 64 levels"),
    "5,000 digits": (b'{"a": ' + b"7" * 5000 + b"}", "whole number of more than 64 bits"),
    "100 digits": (b'{"a": ' + b"7" * 100 + b"}", "whole number of more than 64 bits"),
    "NaN": (b'{"a": NaN}', "number that is not finite"),
    "infinity": (b'{"a": [1, -Infinity]}', "number that is not finite"),
    "1e400": (b'{"a": 1e400}', "number that is not finite"),
    "twice": (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
    "twice, inside": (b'{"b": {"a": 1, "a": 1}}', "the key 'a' is there twice"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "it is not UTF-8 text"),
    "Latin 1": (b'{"a": "\xe9"}', "it is not UTF-8 text"),
    "half a pair": (rb'{"a": "\ud800"}', "text with a character that no text file can have"),
    "half a pair as a key": (rb'{"\udfff": 1}', "text with a character that no text file can have"),
    "zero character": (rb'{"a": "\u0000"}', "text with a character that no text file can have"),
    "cut short": (b'{"a": [1, 2', "it is no JSON: "),
    "two values": (b"{} {}", "it is no JSON: extra data"),
    "empty": (b"", "it is no JSON: expecting value"),
    "a list": (b"[1]", "it holds no JSON object"),
}
BAD_TOML = {
    "nested": (b"a = " + b"[" * DEEP + b"]" * DEEP, "nested deeper|no TOML"),
    "dotted": (b".".join([b"a"] * 200) + b" = 1", "nested deeper than 64 levels"),
    "5,000 digits": (b"a = " + b"7" * 5000, "whole number of more than 64 bits"),
    "hexadecimal": (b"a = 0x" + b"f" * 5000, "whole number of more than 64 bits"),
    "nan": (b"a = nan", "number that is not finite"),
    "inf": (b"a = [1.0, -inf]", "number that is not finite"),
    "1e400": (b"a = 1e400", "number that is not finite"),
    "twice": (b"a = 1\na = 2", "it is no TOML: "),
    "Latin 1": (b'a = "\xe9"', "it is not UTF-8 text"),
    "UTF-16": ("a = 1".encode("utf-16"), "it is not UTF-8 text"),
    "cut short": (b'a = "b', "it is no TOML: "),
    "no date": (b"a = 2021-02-31", "it is no TOML|whole number|date"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_one_sentence(name: str, tmp_path: Path) -> None:
    content, reason = BAD_JSON[name]
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"^cannot read card '{re.escape(str(path))}': .*{reason}.*; mend it$"
    ) as told:
        read_json(path, "card", remedy="mend it", kind=dict)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize("name", BAD_TOML)
def test_bad_toml_is_one_sentence(name: str, tmp_path: Path) -> None:
    content, reason = BAD_TOML[name]
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"^cannot read spec '{re.escape(str(path))}': .*({reason}).*; mend it$"
    ) as told:
        read_toml(path, "spec", remedy="mend it")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500


def test_what_is_well_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes('\ufeff{"a": ["ä", -1, 18446744073709551615, 1.5e-300, true, null]}'.encode())
    assert read_json(path) == {"a": ["ä", -1, 2**64 - 1, 1.5e-300, True, None]}
    path.write_bytes('\ufeffa = ["ä", -1, 1.5e-300, true]\r\n[b.c]\r\nd = 0x10'.encode())
    assert read_toml(path) == {"a": ["ä", -1, 1.5e-300, True], "b": {"c": {"d": 16}}}
    nested = "[" * 60 + "]" * 60
    assert parse_json(nested) == parse_toml(f"a = {nested}")["a"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"^cannot read prior file '.*none': it does not exist; get it again$"):
        read_json(tmp_path / "none", "prior file", remedy="get it again", error=PriorError)
    with pytest.raises(InputError, match="it is a folder; give a whole JSON file"):
        read_json(tmp_path)
    with pytest.raises(InputError, match="no file can have this name"):
        read_json("a\0b")
    with pytest.raises(InputError, match="File name too long"):
        read_json(tmp_path / ("a" * 300))
    (tmp_path / "long").write_text("1" + " " * 100)
    assert read_json(tmp_path / "long", limit=101) == 1
    with pytest.raises(InputError, match="it is longer than 100 bytes"):
        read_json(tmp_path / "long", limit=100)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    with pytest.raises(InputError, match="it is not a regular file"):
        read_json(tmp_path / "pipe")


def test_the_key_named_is_the_one_that_is_twice() -> None:
    with pytest.raises(InputError, match=r"^cannot read line 3: the key '\\xe4' is there twice; give whole JSON$"):
        parse_json('{"a": 1, "ä": 2, "ä": 3}', "line 3")
