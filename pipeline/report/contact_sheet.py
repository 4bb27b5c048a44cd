"""Contact sheets: examples laid out on a page, as PNG bytes. Pure: the same examples give the same bytes."""

import io
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from model.examples import Bytes

# Lengths are in pixels, colours are greys.
TILE = 56  # smaller images are enlarged by whole numbers up to this
LARGEST = 112  # larger images are reduced to this
GAP = 4
MARGIN = 20
GUTTER = 32  # between blocks of classes side by side
LABEL_WIDTH = 132
TEXT_SIZE, SMALL_SIZE = 15, 12
CLASSES_A_BLOCK = 13
TILES_A_ROW = 10  # of named examples
PAPER, INK, FAINT = 255, 30, 110


class Tile(NamedTuple):
    """An image and what to write below it.

    Attributes:
        image: uint8[height, width].
        caption: lines.
    """

    image: Bytes
    caption: tuple[str, ...] = ()


class SheetRow(NamedTuple):
    """Examples of one class.

    Attributes:
        title: the class.
        note: something about it.
        tiles: the examples.
    """

    title: str
    note: str
    tiles: Sequence[Tile]


def draw_classes(title: str, rows: Sequence[SheetRow], per_class: int, height: int, width: int) -> bytes:
    """Draw a row for each class, in as many blocks side by side as keep the page from growing tall.

    Args:
        title: of the page.
        rows: at least one; in each at most per_class tiles.
        per_class: how many tiles to leave room for.
        height: of an image.
        width: of an image.

    Returns:
        a PNG file.
    """
    size = tile_size(height, width)
    num_blocks = ceil(len(rows) / CLASSES_A_BLOCK)
    a_block = ceil(len(rows) / num_blocks)
    row_height = max(size[1], TEXT_SIZE + SMALL_SIZE + 4 * GAP) + GAP
    block_width = LABEL_WIDTH + per_class * (size[0] + GAP)
    page_width = num_blocks * block_width + (num_blocks - 1) * GUTTER
    page, top = _page(title, page_width, a_block * row_height)
    for number, row in enumerate(rows):
        block, line = divmod(number, a_block)
        _draw_row(page, row, MARGIN + block * (block_width + GUTTER), top + line * row_height, row_height, size)
    return _as_png(page)


def draw_named(title: str, tiles: Sequence[Tile], height: int, width: int) -> bytes:
    """Draw single examples with their captions, as `draw_classes` does."""
    size = tile_size(height, width)
    small = _font(SMALL_SIZE)
    lines = max(len(tile.caption) for tile in tiles)
    widest = max(small.getlength(line) for tile in tiles for line in tile.caption)
    cell_width = max(size[0], min(ceil(widest), 2 * LARGEST)) + 3 * GAP
    cell_height = size[1] + GAP + lines * (SMALL_SIZE + GAP) + 2 * GAP
    columns = min(len(tiles), TILES_A_ROW)
    page, top = _page(title, columns * cell_width, ceil(len(tiles) / columns) * cell_height)
    for number, tile in enumerate(tiles):
        line, column = divmod(number, columns)
        left, up = MARGIN + column * cell_width, top + line * cell_height
        page.paste(_as_image(tile.image, size), (left, up))
        for place, text in enumerate(tile.caption):
            colour = INK if place == 0 else FAINT
            _write(page, (left, up + size[1] + GAP + place * (SMALL_SIZE + GAP)), text, SMALL_SIZE, colour, cell_width)
    return _as_png(page)


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Return the (width, height) at which images are shown: enlarged by a whole number, or reduced to fit."""
    longer = max(height, width)
    factor = TILE // longer or min(1.0, LARGEST / longer)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _page(title: str, width: int, height: int) -> tuple[Image.Image, int]:
    """Return an empty page with its title, and where what is below that begins; the title may need more width."""
    wide = max(width, ceil(_font(TEXT_SIZE).getlength(title)))
    top = MARGIN + TEXT_SIZE + 3 * GAP
    page = Image.new("L", (wide + 2 * MARGIN, top + height + MARGIN - GAP), PAPER)
    _write(page, (MARGIN, MARGIN - GAP), title, TEXT_SIZE, INK, wide)
    return page, top


def _draw_row(page: Image.Image, row: SheetRow, left: int, top: int, row_height: int, size: tuple[int, int]) -> None:
    lines = TEXT_SIZE + SMALL_SIZE + GAP
    up = top + (row_height - GAP - lines) // 2
    _write(page, (left, up), row.title, TEXT_SIZE, INK, LABEL_WIDTH - 2 * GAP)
    _write(page, (left, up + TEXT_SIZE + GAP), row.note, SMALL_SIZE, FAINT, LABEL_WIDTH - 2 * GAP)
    for number, tile in enumerate(row.tiles):
        place = (left + LABEL_WIDTH + number * (size[0] + GAP), top + (row_height - GAP - size[1]) // 2)
        page.paste(_as_image(tile.image, size), place)


def _as_image(values: Bytes, size: tuple[int, int]) -> Image.Image:
    """Scale an image; enlarging repeats pixels, so that they are seen as they are."""
    enlarged = size[0] >= values.shape[1]
    return Image.fromarray(values).resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX)


def _write(page: Image.Image, place: tuple[int, int], text: str, size: int, colour: int, most: int) -> None:
    """Write a line, cut off if it takes more than `most` pixels."""
    font = _font(size)
    shown = text
    while font.getlength(shown) > most:
        text = text[:-1]
        shown = text + "..."
    ImageDraw.Draw(page).text(place, shown, fill=colour, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # part of Pillow, so every machine has it


def _as_png(page: Image.Image) -> bytes:
    sink = io.BytesIO()
    page.save(sink, "PNG", optimize=True)
    return sink.getvalue()
