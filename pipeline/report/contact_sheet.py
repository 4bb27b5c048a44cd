"""Draw contact sheets of examples as PNG files. The same examples give the same bytes."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from model.examples import Bytes
from pipeline.report.thumbnails import MAX_SIZE, encode_png

# Lengths are in pixels.
ENLARGED_SIZE = 56  # small images are enlarged by a whole factor up to this length of the longer side
GAP = 4
MARGIN = 20
GUTTER = 32  # between blocks of classes side by side
LABEL_WIDTH = 132
TEXT_SIZE = 15
SMALL_SIZE = 12
CLASSES_PER_BLOCK = 13
TILES_PER_ROW = 10  # of a sheet of named examples
# Grey levels.
PAPER = 255
INK = 30
FAINT = 110


class Tile(NamedTuple):
    """An image, uint8[height, width], with the lines of text below it."""

    image: Bytes
    caption: tuple[str, ...]


class SheetRow(NamedTuple):
    """Examples of one class, uint8[n, height, width], with a title and a line of text in small print."""

    title: str
    note: str
    images: Sequence[Bytes]


def draw_classes(title: str, rows: Sequence[SheetRow], per_class: int, height: int, width: int) -> bytes:
    """Return a PNG file with a row for each class, in blocks of at most CLASSES_PER_BLOCK rows side by side.

    Rows have room for per_class images of height x width pixels.
    """
    size = tile_size(height, width)
    num_blocks = ceil(len(rows) / CLASSES_PER_BLOCK)
    rows_per_block = ceil(len(rows) / num_blocks)
    row_height = max(size[1], TEXT_SIZE + SMALL_SIZE + 4 * GAP) + GAP
    block_width = LABEL_WIDTH + per_class * (size[0] + GAP)
    page_width = num_blocks * block_width + (num_blocks - 1) * GUTTER
    page, top = _new_page(title, page_width, rows_per_block * row_height)
    for number, row in enumerate(rows):
        block, line = divmod(number, rows_per_block)
        _draw_row(page, row, MARGIN + block * (block_width + GUTTER), top + line * row_height, row_height, size)
    return encode_png(page)


def draw_named(title: str, tiles: Sequence[Tile], height: int, width: int) -> bytes:
    """Return a PNG file with tiles and their captions in a grid; images have height x width pixels."""
    size = tile_size(height, width)
    font = _font(SMALL_SIZE)
    num_lines = max(len(tile.caption) for tile in tiles)
    widest = max(font.getlength(line) for tile in tiles for line in tile.caption)
    cell_width = max(size[0], min(ceil(widest), 2 * MAX_SIZE)) + 3 * GAP
    cell_height = size[1] + GAP + num_lines * (SMALL_SIZE + GAP) + 2 * GAP
    num_columns = min(len(tiles), TILES_PER_ROW)
    page, page_top = _new_page(title, num_columns * cell_width, ceil(len(tiles) / num_columns) * cell_height)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, num_columns)
        left = MARGIN + column * cell_width
        top = page_top + row * cell_height
        page.paste(_scale(tile.image, size), (left, top))
        for line, text in enumerate(tile.caption):
            position = (left, top + size[1] + GAP + line * (SMALL_SIZE + GAP))
            _write(page, position, text, SMALL_SIZE, INK if line == 0 else FAINT, cell_width)
    return encode_png(page)


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Return the (width, height) at which images are drawn: enlarged by a whole factor, or reduced to fit."""
    longer = max(height, width)
    factor = ENLARGED_SIZE // longer or min(1.0, MAX_SIZE / longer)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _new_page(title: str, width: int, height: int) -> tuple[Image.Image, int]:
    """Return a page with its title, at least as wide as that, and the top of the area below the title."""
    inner_width = max(width, ceil(_font(TEXT_SIZE).getlength(title)))
    top = MARGIN + TEXT_SIZE + 3 * GAP
    page = Image.new("L", (inner_width + 2 * MARGIN, top + height + MARGIN - GAP), PAPER)
    _write(page, (MARGIN, MARGIN - GAP), title, TEXT_SIZE, INK, inner_width)
    return page, top


def _draw_row(page: Image.Image, row: SheetRow, left: int, top: int, row_height: int, size: tuple[int, int]) -> None:
    text_height = TEXT_SIZE + SMALL_SIZE + GAP
    text_top = top + (row_height - GAP - text_height) // 2
    _write(page, (left, text_top), row.title, TEXT_SIZE, INK, LABEL_WIDTH - 2 * GAP)
    _write(page, (left, text_top + TEXT_SIZE + GAP), row.note, SMALL_SIZE, FAINT, LABEL_WIDTH - 2 * GAP)
    for number, image in enumerate(row.images):
        position = (left + LABEL_WIDTH + number * (size[0] + GAP), top + (row_height - GAP - size[1]) // 2)
        page.paste(_scale(image, size), position)


def _scale(values: Bytes, size: tuple[int, int]) -> Image.Image:
    """Scale an image; to enlarge it, repeat pixels, so that their values stay visible."""
    is_enlarged = size[0] >= values.shape[1]
    return Image.fromarray(values).resize(size, Image.Resampling.NEAREST if is_enlarged else Image.Resampling.BOX)


def _write(page: Image.Image, position: tuple[int, int], text: str, size: int, colour: int, max_width: int) -> None:
    """Write a line of text, shortened to max_width pixels."""
    font = _font(size)
    shortened = text
    while font.getlength(shortened) > max_width:
        text = text[:-1]
        shortened = text + "..."
    ImageDraw.Draw(page).text(position, shortened, fill=colour, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # part of Pillow, so every machine has it
