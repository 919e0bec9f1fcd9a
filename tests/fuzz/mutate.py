"""How valid bytes, texts and values are spoiled; every draw is from the generator that is given."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

__all__ = ["as_toml", "bytes_of", "json_of", "png_of", "safetensors_of", "toml_of", "tree_of", "value"]

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 16, 127, 128, 255, 256, 1000, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64, 10**30, 10**400, -(2**31), -(2**63), 0.5, -0.5, 1.0000001, -0.0, 1e-320, 1e-9, 1e38),
    *(1e308, math.nan, math.inf, -math.inf),
)
TEXTS = (
    *("", " ", "auto", "none", "noise", "x", "fast", "cpu", "cuda:7", "meta", "nan", "1", "-1", "1e999", "true", "\n"),
    *(
        "../../x",
        "/etc/hostname",
        "/dev/zero",
        "x\0y",
        "\ud800",
        "ä" * 300,
        "~nobody-here",
        "%s{0}$(x)",
        "http://127.0.0.1:9/x.mp4",
    ),
)


def value(rng: Random, depth: int = 0) -> Any:
    """Something that no one expects there."""
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind < 7:
        return rng.choice(TEXTS)
    if kind == 7 or depth > 2:
        return rng.choice((None, True, False))
    if kind == 8:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(("x", "name", "kind", "")): value(rng, depth + 1) for _ in range(rng.randrange(3))}


def tree_of(rng: Random, tree: Any, times: int = 3) -> Any:
    """Plain values with one to ``times`` of them replaced, removed, renamed, doubled, or of another type."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, times)):
        places: list[tuple[Any, Any]] = []
        level = [tree]
        while level:
            node = level.pop()
            keys = list(node) if isinstance(node, dict) else range(min(len(node), 50))
            places += [(node, key) for key in keys]
            level += [node[key] for key in keys if isinstance(node[key], (dict, list))]
        if not places:
            return value(rng)
        node, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind < 4:
            node[key] = value(rng)
        elif kind == 4:
            del node[key]
        elif kind == 5 and isinstance(node, dict):
            node[f"{key}{rng.choice(('s', '_', 'x' * 200, ' '))}"] = node.pop(key)
        elif kind == 6:
            node[key] = rng.choice(([node[key]], str(node[key]), {"x": node[key]}))
        elif type(node[key]) in (int, float) and abs(node[key]) < 1e300:
            node[key] = rng.choice((-node[key], node[key] * 1000, node[key] + 1, node[key] / 3, float(node[key])))
    return tree


def json_of(rng: Random, tree: Any) -> bytes:
    """JSON of a spoiled value; now and then the text is spoiled instead."""
    if rng.random() < 0.75:
        return json.dumps(tree_of(rng, tree)).encode("utf-8", "surrogatepass")
    return _text(rng, json.dumps(tree, indent=1), "[", "]", "{", "}")


def toml_of(rng: Random, tree: Any) -> bytes:
    """TOML of a spoiled value; now and then the text is spoiled instead."""
    if rng.random() < 0.75:
        return as_toml(tree_of(rng, tree)).encode("utf-8", "surrogatepass")
    return _text(rng, as_toml(tree), "[", "]", '"', "=")


def _text(rng: Random, text: str, *marks: str) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
    if kind == 1:
        return (marks[0] * rng.choice((100, 2000, 200_000)) + text).encode()
    if kind == 2:
        digits = "9" * rng.choice((30, 5000, 100_000))
        return text.replace(rng.choice("01234"), digits, 1).encode()
    if kind == 3:
        at = rng.randrange(len(text))
        return (
            text[:at] + rng.choice((*marks, "\0", "NaN", "Infinity", "1e400", "\\u0000", "\n")) + text[at:]
        ).encode()
    if kind == 4:
        return b"\xff" + text.encode()[1:]
    return bytes_of(rng, text.encode())


def as_toml(tree: Any) -> str:
    """A table as TOML, inner tables in line."""

    def inline(v: Any) -> str:
        if isinstance(v, dict):
            return "{" + ", ".join(f"{json.dumps(str(k))} = {inline(w)}" for k, w in v.items()) + "}"
        if isinstance(v, (list, tuple)):
            return "[" + ", ".join(map(inline, v)) + "]"
        if isinstance(v, float) and not math.isfinite(v):
            return str(v)
        return "nan" if v is None else json.dumps(v)

    if not isinstance(tree, dict):
        return inline(tree)
    return "".join(f"{json.dumps(str(k))} = {inline(v)}\n" for k, v in tree.items())


def bytes_of(rng: Random, blob: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to three of: bits turned, a cut, garbage, a block gone, doubled, moved or zeroed, a number replaced, the
    middle of another file."""
    for _ in range(rng.randint(1, 3)):
        blob = rng.choice(_OPERATORS)(rng, blob) if rng.random() < 0.9 or not others else _splice(rng, blob, others)
    return blob


def _place(rng: Random, blob: bytes) -> int:
    """Most headers are in front, some (TIFF, ZIP) at the end."""
    return rng.choice(
        (rng.randrange(len(blob) + 1), min(len(blob), rng.randrange(64)), max(0, len(blob) - rng.randrange(1, 64)))
    )


def _flip(rng: Random, blob: bytes) -> bytes:
    spoiled = bytearray(blob)
    for _ in range(rng.choice((1, 1, 2, 8)) if blob else 0):
        spoiled[min(_place(rng, blob), len(blob) - 1)] ^= 1 << rng.randrange(8)
    return bytes(spoiled)


def _cut(rng: Random, blob: bytes) -> bytes:
    return blob[: _place(rng, blob)]


def _grow(rng: Random, blob: bytes) -> bytes:
    at = rng.choice((len(blob), _place(rng, blob)))
    return blob[:at] + rng.choice((rng.randbytes(rng.randrange(1, 40)), bytes(rng.randrange(1, 3000)))) + blob[at:]


def _block(rng: Random, blob: bytes) -> bytes:
    a = _place(rng, blob)
    b = min(len(blob), a + rng.choice((1, 2, 4, 8, 64, 1000)))
    return rng.choice(
        (blob[:a] + blob[b:], blob[:b] + blob[a:], blob[b:] + blob[a:b], blob[:a] + bytes(b - a) + blob[b:])
    )


def _number(rng: Random, blob: bytes) -> bytes:
    kind = rng.choice("BHIQ")
    width = struct.calcsize(kind)
    at = _place(rng, blob)
    whole = [n for n in NUMBERS if isinstance(n, int) and -(2**63) <= n < 2**64]
    number = rng.choice(whole) % 2 ** (8 * width)
    return blob[:at] + struct.pack(rng.choice("<>") + kind, number) + blob[at + width :]


def _splice(rng: Random, blob: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return blob[: _place(rng, blob)] + other[_place(rng, other) :]


_OPERATORS: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _flip, _cut, _grow, _block, _number, _number)


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_of(rng: Random, blob: bytes) -> bytes:
    """A PNG with one chunk spoiled, removed, doubled, moved or new, and right checksums."""
    chunks, at = [], 8
    while at + 12 <= len(blob):
        (length,) = struct.unpack_from(">I", blob, at)
        chunks.append((blob[at + 4 : at + 8], blob[at + 8 : at + 8 + length]))
        at += 12 + length
    i = rng.randrange(len(chunks))
    kind, payload = chunks[i]
    if rng.random() < 0.5:
        chunks[i] = (kind, bytes_of(rng, payload))
    elif rng.random() < 0.3:
        del chunks[i]
    else:
        names = (
            b"gAMA",
            b"cICP",
            b"cHRM",
            b"sRGB",
            b"iCCP",
            b"eXIf",
            b"acTL",
            b"fcTL",
            b"tRNS",
            b"PLTE",
            b"sBIT",
            b"bKGD",
        )
        bomb = b"x\0\0" + zlib.compress(bytes(10**6))
        new = (rng.choice((*names, kind)), rng.choice((b"", payload, rng.randbytes(rng.choice((1, 4, 9, 32))), bomb)))
        chunks.insert(rng.randrange(len(chunks) + 1), new)
    return blob[:8] + b"".join(chunk(*c) for c in chunks)


def safetensors_of(rng: Random, blob: bytes) -> bytes:
    """A safetensors file whose header is spoiled and of the length that it says."""
    (length,) = struct.unpack_from("<Q", blob)
    header = json_of(rng, json.loads(blob[8 : 8 + length]))
    return struct.pack("<Q", len(header)) + header + blob[8 + length :]
