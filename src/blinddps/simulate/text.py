"""Seeded pages of text: screens, scans, photographed pages, signs and number plates, from the fonts at hand.

Picture ``i`` is a function of ``(seed, i)``, the size and the fonts. Words are random letters, so that nothing is
learned of any language. Letters cost more than all else, so a sheet of them is drawn once and seen several times.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from blinddps.core.errors import InputError

from .draws import random_of, smooth_field
from .limits import Size, shape_of

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

__all__ = ["SYSTEM_FONTS", "Face", "Fonts", "find_fonts", "text_pages"]

Array = npt.NDArray[Any]

SYSTEM_FONTS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)

_LATIN = "abcdefghijklmnopqrstuvwxyz"
# letters that stand side by side; those that join or stack (Arabic, Devanagari) would need shaping
_SCRIPTS = {
    "latin": _LATIN + "eeeaaoo",
    "accents": _LATIN + "àáâäåçèéêëíîïñóôöøúüýßőčšž",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփք",
    "georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ",
    "kana": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
    "han": "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里",
}
_SHARES = {"latin": 0.5, "accents": 0.12, "greek": 0.08, "cyrillic": 0.12, "han": 0.06, "kana": 0.04}  # others 0.03
_FLAT, _SIGN = 0.22, 0.22  # shares of screens, which nothing turns, and of signs
_SIGNS = ".,;:!?-()/%&+*\"'=#@€$"
_VIEWS = 6  # of a sheet, in the mean
_KEPT = 96  # sheets that pictures near each other are views of


@dataclass(frozen=True)
class Face:
    """A font file, or Pillow's own font (an empty path), and which scripts it has."""

    path: str

    @cached_property
    def name(self) -> tuple[str, str]:
        """Family and style."""
        family, style = self.at(20).getname()
        return family or "unknown", style or "unknown"

    @cached_property
    def scripts(self) -> tuple[str, ...]:
        """Those of which it has the first letter, the middle one and the last."""
        some = {name: letters[0] + letters[len(letters) // 2] + letters[-1] for name, letters in _SCRIPTS.items()}
        return tuple(name for name, letters in some.items() if self.writes(letters) == letters)

    @cached_property
    def digits(self) -> str:
        return self.writes("0123456789")

    @cached_property
    def signs(self) -> str:
        return self.writes(_SIGNS)

    def writes(self, letters: str) -> str:
        """Those of ``letters`` that it has."""
        font = self.at(20)
        missing = {_drawn(font, c) for c in "\U0010fffe\ue5c3"}
        return "".join(c for c in letters if _drawn(font, c) not in missing)

    def at(self, pixels: int) -> ImageFont.FreeTypeFont:
        return _font(self.path, pixels)


@dataclass(frozen=True)
class Fonts:
    """Faces by script and family: a family counts as much as another, however many styles it has."""

    faces: tuple[Face, ...]

    @cached_property
    def families(self) -> dict[str, tuple[tuple[Face, ...], ...]]:
        table: dict[str, dict[str, list[Face]]] = {}
        for face in self.faces:
            for script in face.scripts:
                table.setdefault(script, {}).setdefault(face.name[0], []).append(face)
        kept = (script for script in _SCRIPTS if script in table)
        return {script: tuple(tuple(styles) for _, styles in sorted(table[script].items())) for script in kept}

    @cached_property
    def shares(self) -> Array:
        """Of the scripts, cumulated."""
        shares = np.cumsum([_SHARES.get(script, 0.03) for script in self.families])
        return shares / shares[-1]

    def draw(self, rng: np.random.Generator) -> tuple[str, Face]:
        """A script, and a face for it."""
        script = list(self.families)[int(np.searchsorted(self.shares, rng.random(), side="right"))]
        styles = _one(rng, self.families[script])
        return script, _one(rng, styles)


def find_fonts(folders: Sequence[str | os.PathLike[str]] = ()) -> Fonts:
    """The TrueType and OpenType fonts in ``folders`` (of the system, where none is given; Pillow's own, where that has
    none) that have letters of a script known here, in the order of their names.

    Raises:
        InputError: a folder is missing, or has no such font.
    """
    found: list[Face] = []
    for given in folders or SYSTEM_FONTS:
        folder = Path(given).expanduser()
        files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.suffix.lower() in (".ttf", ".otf")]
        faces = [face for face in map(Face, sorted(map(str, files))) if _usable(face)]
        if folders and not faces:
            raise InputError(f"'{given}' has no fonts with letters; give a folder of .ttf or .otf files")
        found += faces
    return Fonts(tuple(found) or (Face(""),))


def text_pages(count: int, size: Size, *, seed: int = 0, start: int = 0, fonts: Fonts | None = None) -> torch.Tensor:
    """Grey crops of what is written, sharp, dark on light or light on dark.

    Letters are 8 to 60 pixels high; a crop is cut from a larger sheet, so text goes on beyond its border. Sheets have
    paragraphs, headings, tables, rules, boxes and bars; signs and plates stand before overlapping shapes. Scans and
    photographs are turned and seen in perspective, a little, and reduced with antialiasing; paper has grain, light
    falls off and has shadows.

    Args:
        count: number of pictures.
        size: height and width in pixels, at least 16; one number for a square.
        seed: with the index, decides each picture.
        start: index of the first picture.
        fonts: see :func:`find_fonts`; those of the system by default.

    Returns:
        ``(count, 1, h, w)`` float32 in [0, 1].

    Raises:
        InputError: an argument out of its range.
    """
    shape = shape_of(size, 16, "page of text")
    fonts = find_fonts() if fonts is None else fonts
    pages = [_page(seed, item, shape, fonts) for item in range(start, start + count)]
    return torch.from_numpy(np.stack(pages)[:, None]) if pages else torch.empty(0, 1, *shape)


@lru_cache(maxsize=1024)
def _font(path: str, pixels: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    if not path:
        return ImageFont.load_default(pixels)  # type: ignore[return-value]  # of this size it is one
    return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    mask = font.getmask(letter, mode="L")
    return repr(mask.size).encode() + bytes(mask)


def _usable(face: Face) -> bool:
    try:
        return bool(face.scripts)
    except (OSError, ValueError):  # damaged, of bitmaps alone, or none
        return False


def _page(seed: int, item: int, shape: tuple[int, int], fonts: Fonts) -> Array:
    from PIL import Image

    rng = random_of(seed, "text", item)
    sheet, zoom = _sheet(seed, item // _VIEWS + int(rng.integers(_KEPT)), shape, fonts)
    if zoom == 1.0:
        x, y = (int(rng.integers(1 + have - want)) for have, want in zip(sheet.size, reversed(shape), strict=True))
        seen = sheet.crop((x, y, x + shape[1], y + shape[0]))
    else:
        seen = _seen(rng, sheet, shape, zoom * float(rng.uniform(0.8, 1.25)))
    if rng.random() < 0.06:  # a page on its side
        seen = seen.transpose(Image.Transpose.ROTATE_90).resize(shape[::-1], Image.Resampling.BICUBIC)
    values = np.asarray(seen, dtype=np.float32) / 255
    return values if zoom == 1.0 else _lit(rng, values)


@lru_cache(maxsize=2 * _KEPT)
def _sheet(seed: int, number: int, shape: tuple[int, int], fonts: Fonts) -> tuple[Image.Image, float]:
    """What is written, larger than any view of it, and how many of its pixels make one of a picture; 1 of a screen."""
    from PIL import Image, ImageDraw

    rng = random_of(seed, "sheet of text", number)
    sign, flat = rng.random() < _SIGN, rng.random() < _FLAT
    zoom = float(rng.uniform(1.6, 2.4)) if sign else 1.0 if flat else float(rng.uniform(1.2, 2.4))
    width, height = (int(np.ceil(side * zoom * 1.3)) for side in reversed(shape))
    paper, ink = _levels(rng)
    sheet = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(sheet)
    if sign:
        _shapes(rng, draw, (0, 0, width, height))
        _sign(rng, draw, sheet.size, zoom, fonts)
        return sheet, zoom
    _write(rng, draw, sheet.size, zoom, fonts, ink)
    if rng.random() < 0.3:
        _panels(rng, sheet, zoom, fonts)
    _furniture(rng, draw, sheet.size, zoom, ink)
    if rng.random() < 0.06 and not flat:
        _shapes(rng, draw, _box(rng, sheet.size, 0.3))
    return sheet, zoom


def _one(rng: np.random.Generator, things: Sequence[Any]) -> Any:
    return things[int(rng.integers(len(things)))]


def _some(rng: np.random.Generator, letters: str, least: int, most: int) -> str:
    """From ``least`` to ``most`` of them."""
    return "".join(letters[i] for i in rng.integers(len(letters), size=int(rng.integers(least, most + 1))))


def _levels(rng: np.random.Generator) -> tuple[int, int]:
    """Paper and ink, 0 to 255: mostly dark on light, mostly of high contrast."""
    contrast = 1 - 0.93 * float(rng.random()) ** 2.2
    light = 1.0 if rng.random() < 0.35 else float(rng.uniform(contrast, 1)) if contrast < 1 else 1.0
    levels = round(255 * light), round(255 * (light - contrast * light))
    return levels if rng.random() < 0.72 else levels[::-1]


def _word(rng: np.random.Generator, script: str, face: Face) -> str:
    """Letters, now and then a number, a capital or all of them, a sign after it."""
    u, v = rng.random(2)
    if u < 0.14 and face.digits:
        word = _some(rng, face.digits, 1, 6)
        return word if v < 0.7 else word[:-2] + ".,:-"[int(v * 4000) % 4] + word[-2:]
    word = _some(rng, _SCRIPTS[script], 2, 10)
    word = word.upper() if v < 0.1 else word.capitalize() if v < 0.25 else word
    return word + _some(rng, face.signs, 1, 1) if u > 0.88 and face.signs else word


def _pixels(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _write(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    zoom: float,
    fonts: Fonts,
    ink: int,
) -> None:
    """Columns of paragraphs over ``size``, each paragraph in a face and size of its own."""
    right, bottom = size
    x = float(rng.uniform(-0.3, 0.15)) * right
    while x < right:
        y = -float(rng.uniform(0, 40)) * zoom
        width = max(60 * zoom, float(rng.uniform(0.3, 1.4)) * right)
        while y < bottom:
            script, face = fonts.draw(rng)
            pixels = max(6, round(zoom * _pixels(rng, 8, 26 if rng.random() < 0.8 else 60)))
            font, step = face.at(pixels), pixels * float(rng.uniform(1.05, 1.7))
            indent = float(rng.uniform(0, 0.3)) * width * (rng.random() < 0.3)
            space = "" if script in ("han", "kana") else " " * (1 if rng.random() < 0.95 else 4)
            for _ in range(int(rng.integers(1, 9))):
                # a word is about six letters of half a size; the columns end about there
                room = min(width, right - x) - indent
                words = [_word(rng, script, face) for _ in range(max(1, round(room / (3.2 * pixels))))]
                if rng.random() < 0.15:  # a short last line
                    words = words[: max(1, len(words) // 2)]
                if -2 * pixels < y < bottom:
                    draw.text((x + indent, y), space.join(words), font=font, fill=ink)
                if rng.random() < 0.03:
                    draw.line((x, y + step, x + width, y + step), fill=ink, width=max(1, pixels // 12))
                y += step
            y += step * float(rng.uniform(0, 1.5))
        x += width * float(rng.uniform(1.02, 1.2))


def _box(rng: np.random.Generator, size: tuple[int, int], least: float) -> tuple[int, int, int, int]:
    w, h = (int(side * rng.uniform(least, 1)) for side in size)
    x, y = int(rng.integers(-w // 3, size[0] - w // 2)), int(rng.integers(-h // 3, size[1] - h // 2))
    return x, y, x + max(w, 8), y + max(h, 8)


def _panels(rng: np.random.Generator, sheet: Image.Image, zoom: float, fonts: Fonts) -> None:
    """Boxes with paper and ink of their own: windows, buttons, labels."""
    from PIL import Image, ImageDraw

    for _ in range(int(rng.integers(1, 4))):
        x0, y0, x1, y1 = _box(rng, sheet.size, 0.25)
        paper, ink = _levels(rng)
        panel = Image.new("L", (x1 - x0, y1 - y0), paper)
        draw = ImageDraw.Draw(panel)
        _write(rng, draw, panel.size, zoom, fonts, ink)
        if rng.random() < 0.5:
            draw.rectangle(
                (0, 0, x1 - x0 - 1, y1 - y0 - 1), outline=ink, width=max(1, round(zoom * rng.uniform(0.5, 3)))
            )
        sheet.paste(panel, (x0, y0))


def _furniture(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: tuple[int, int], zoom: float, ink: int
) -> None:
    """Rules, a table's grid, boxes, bars."""
    width, height = size
    thick = max(1, round(zoom * float(rng.choice([0.6, 1, 1, 2, 4]))))
    if rng.random() < 0.15:
        rows, columns = float(rng.uniform(10, 40)) * zoom, float(rng.uniform(25, 90)) * zoom
        for y in np.arange(float(rng.uniform(0, rows)), height, rows):
            draw.line((0, y, width, y), fill=ink, width=thick)
        for x in np.arange(float(rng.uniform(0, columns)), width, columns):
            draw.line((x, 0, x, height), fill=ink, width=thick)
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.3 else 0):
        x0, y0, x1, y1 = _box(rng, size, 0.1)
        if rng.random() < 0.5:
            draw.line((x0, y0, x1, y0), fill=ink, width=thick)
        else:
            draw.rectangle((x0, y0, x1, y1), outline=ink, width=thick)
    if rng.random() < 0.04:  # a bar code
        x0, y0, x1, y1 = _box(rng, size, 0.2)
        unit = max(1.0, zoom * float(rng.uniform(1, 3)))
        edges = x0 + unit * np.cumsum(rng.integers(1, 5, size=max(4, int((x1 - x0) / unit / 2))))
        for a, b in zip(edges[::2], edges[1::2], strict=False):
            draw.rectangle((a, y0, b - 1, y1), fill=ink)


def _shapes(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
) -> None:
    """Overlapping ellipses and polygons whose sizes fall as a power, as things before things do."""
    x0, y0, x1, y1 = box
    side = min(x1 - x0, y1 - y0)
    for _ in range(60):
        r = side * 0.04 / max(0.04, float(rng.random()) ** 0.7)
        cx, cy = float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1))
        fill = int(rng.integers(0, 256))
        if rng.random() < 0.5:
            a, b = r * float(rng.uniform(0.4, 1)), r * float(rng.uniform(0.4, 1))
            draw.ellipse((cx - a, cy - b, cx + a, cy + b), fill=fill)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, size=int(rng.integers(3, 6))))
            draw.polygon([(cx + r * np.cos(t), cy + r * np.sin(t)) for t in angles], fill=fill)


def _sign(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    zoom: float,
    fonts: Fonts,
) -> None:
    """A plate with one to three lines of capitals and digits; its rim, corners and screws."""
    paper, ink = _levels(rng)
    script, face = fonts.draw(rng)
    pixels = max(8, round(zoom * _pixels(rng, 12, 60)))
    font, pad = face.at(pixels), pixels * float(rng.uniform(0.1, 0.6))
    lines = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if rng.random() < 0.7:  # a number plate
            letters = _SCRIPTS[script].upper()
            if "latin" in face.scripts and rng.random() < 0.7:
                letters = _LATIN.upper()
            signs = _some(rng, letters + max(1, len(letters) // 10) * face.digits, 3, 8)
            cut = int(rng.integers(1, len(signs)))
            lines.append(signs[:cut] + _one(rng, ["", " ", *("-" if "-" in face.signs else "")]) + signs[cut:])
        else:
            lines.append(" ".join(_word(rng, script, face) for _ in range(int(rng.integers(1, 3)))))
    boxes = [draw.textbbox((0, 0), line, font=font) for line in lines]
    width, step = max(b[2] for b in boxes) + 2 * pad, pixels * float(rng.uniform(1.0, 1.4))
    height = step * (len(lines) - 1) + max(b[3] for b in boxes) - min(b[1] for b in boxes) + 2 * pad
    x = float(rng.uniform(min(0, size[0] - width), max(0, size[0] - width)))
    y = float(rng.uniform(min(0, size[1] - height), max(0, size[1] - height)))
    frame = (x, y, x + width, y + height)
    radius, rim = pixels * float(rng.uniform(0, 0.3)), round(zoom * float(rng.uniform(0, 3)))
    draw.rounded_rectangle(frame, radius, fill=paper, outline=ink if rim else None, width=max(1, rim))
    for i, line in enumerate(lines):
        draw.text((x + pad, y + pad - boxes[0][1] + i * step), line, font=font, fill=ink)
    for u in rng.uniform(0.05, 0.95, size=int(rng.choice([0, 0, 2]))):
        r, cx, cy = pixels * 0.06, x + u * width, y + pad / 2
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=round((paper + ink) / 2))


def _seen(rng: np.random.Generator, sheet: Image.Image, shape: tuple[int, int], zoom: float) -> Image.Image:
    """The sheet turned and in perspective, a little, at ``shape``: bilinear at the sheet's own fineness, then reduced
    with antialiasing, by a filter that is drawn."""
    from PIL import Image

    fine = int(np.ceil(shape[1] * zoom)), int(np.ceil(shape[0] * zoom))
    turn = np.deg2rad(rng.normal(0, 3) if rng.random() < 0.85 else rng.uniform(-15, 15))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    bent = corners + rng.normal(0, 0.05, size=(4, 2)) * (rng.random() < 0.6)
    reach = np.array(fine) / 2
    source = np.clip(bent @ rotation.T * reach + np.array(sheet.size) / 2, 0, np.array(sheet.size))
    coefficients = _homography((corners + 1) * reach, source)
    seen = sheet.transform(fine, Image.Transform.PERSPECTIVE, list(coefficients), Image.Resampling.BILINEAR)
    resampling = Image.Resampling
    kept = (resampling.BOX, resampling.HAMMING, resampling.BICUBIC, resampling.LANCZOS)
    return seen.resize(shape[::-1], kept[int(rng.integers(4))])


def _homography(to: Array, source: Array) -> Array:
    """The eight coefficients that bring four points ``to`` to those of ``source``."""
    rows, values = [], []
    for (x, y), (u, v) in zip(to, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values))


def _lit(rng: np.random.Generator, x: Array) -> Array:
    """Uneven light, a shadow's soft edge, grain, a lens that is not perfect. Each takes light off, none adds."""
    h, w = x.shape
    if rng.random() < 0.4:
        tap = float(rng.uniform(0, 0.2))
        for axis in (0, 1):
            padded = np.pad(x, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            n = x.shape[axis]
            before, after = padded.take(range(n), axis), padded.take(range(2, n + 2), axis)
            x = (1 - 2 * tap) * x + tap * (before + after)
    light = np.ones((h, w))
    if rng.random() < 0.7:
        light -= float(rng.uniform(0, 0.6)) * smooth_field(rng, (h, w), int(rng.integers(2, 5)))
    if rng.random() < 0.15:
        yy, xx = np.mgrid[:h, :w]
        angle, soft = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.5, 12))
        across = np.cos(angle) * (xx - rng.uniform(0, w)) + np.sin(angle) * (yy - rng.uniform(0, h))
        light *= 1 - float(rng.uniform(0.1, 0.6)) / (1 + np.exp(-np.clip(across / soft, -30, 30)))
    if rng.random() < 0.45:
        grain = smooth_field(rng, (h, w), max(h, w) // int(rng.integers(1, 5)))
        light *= 1 - float(rng.uniform(0, 0.06)) * grain
    if rng.random() < 0.3:  # haze, or ink that reflects
        veil = float(rng.uniform(0, 0.3))
        x = veil + (1 - veil) * x
    return (x * light).astype(np.float32)
