"""What the first bytes and the headers of untrusted picture files say, read before any decoder is given the file."""

import re
import struct
from collections.abc import Iterator

from model.errors import BadInput

# By the name that Pillow gives it, the first bytes of each format. Those that begin with only two characters are told
# from pixels and text by what follows: of BMP the length of its header, of PNM (P1 to P6) a number or a comment.
FORMATS = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
    "PPM": re.compile(rb"P[1-6]\s+[#0-9]"),
}
TITLES = "PNG, JPEG, BMP, GIF, WebP, TIFF or PNM"  # in messages; PNM: PBM, PGM and PPM
ENDINGS = ("png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "pbm", "pgm", "pnm", "ppm")  # of file names
START_BYTES = 32  # are enough to recognise a format
_OTHER_FORMATS = {
    b"RIFF": "a RIFF file other than WebP",
    b"II+\0": "a BigTIFF picture",
    b"MM\0+": "a BigTIFF picture",
    b"P7\n": "a PAM picture",
    b"PF\n": "a PFM picture",
    b"Pf\n": "a PFM picture",
    b"%PDF": "a PDF document",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file, such as an SVG drawing",
}
MAX_TAG_BYTES = 2**20  # of numbers in the tags of a TIFF file: enough for a strip in each of 65,536 rows
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_TEXT_TYPES = (1, 2, 7)  # bytes, ASCII and undefined, which Pillow keeps as they are
_MAX_DIRECTORIES = 8
_DIRECTORY_TAGS = (0x8769, 0x8825, 0xA005)  # of EXIF, GPS and interoperability, which point to further directories


def format_of(start: bytes) -> str | None:
    """Return the key of FORMATS by the first bytes of a file; None if it is no picture that is read."""
    return next((name for name, pattern in FORMATS.items() if pattern.match(start)), None)


def is_picture(start: bytes) -> bool:
    """Return whether a file with these first bytes, at least START_BYTES if it has as many, may be a picture."""
    return format_of(start) is not None


def describe_format(start: bytes) -> str:
    """Return what a file of another format is by its first bytes, as the beginning of a sentence; empty if unknown."""
    found = next((kind for magic, kind in _OTHER_FORMATS.items() if start.startswith(magic)), "")
    if start[4:8] == b"ftyp":  # after the length of this box, which differs between writers
        found = "a HEIC or AVIF picture"
    if not start:
        found = "an empty file"
    return f"{found}: " if found else ""


def check_webp_size(data: bytes, name: str, max_pixels: int) -> None:
    """Raise BadInput if a WebP file states more than max_pixels: its decoder allocates them when it is opened."""
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width = (bits & 0x3FFF) + 1
        height = (bits >> 14 & 0x3FFF) + 1
    else:
        width = int.from_bytes(data[26:28], "little") & 0x3FFF
        height = int.from_bytes(data[28:30], "little") & 0x3FFF
    check_size(width, height, name, max_pixels)


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise BadInput for a picture of more than max_pixels."""
    if width * height > max_pixels:
        raise BadInput(f"{name}: {width} x {height} pixels, expected at most {max_pixels} in all")


def check_tags(tiff: bytes, name: str) -> None:
    """Raise BadInput if the tags of a TIFF file, or of EXIF data, are larger than what holds them.

    Many tags may point to the same bytes, each of which Pillow copies. Malformed directories are left to Pillow.
    """
    num_bytes = 0
    num_numbers = 0
    for kind, size in _list_tags(tiff):
        num_bytes += size
        num_numbers += 0 if kind in _TEXT_TYPES else size
        if num_bytes > len(tiff) or num_numbers > MAX_TAG_BYTES:
            raise BadInput(
                f"{name}: damaged: its tags (of TIFF or EXIF) are larger than what holds them, or than {MAX_TAG_BYTES} "
                "bytes"
            )


def _list_tags(tiff: bytes) -> Iterator[tuple[int, int]]:
    """Yield the type and the bytes of each tag of the first directory and of those in it, up to the first fault."""
    order = ">" if tiff.startswith(b"MM") else "<"
    starts = [tiff[4:8]]
    seen = set[bytes]()
    while starts and len(seen) < _MAX_DIRECTORIES:
        start = starts.pop()
        if start in seen or len(start) < 4:
            continue
        seen.add(start)
        for tag, kind, count, value in _read_directory(tiff, struct.unpack(f"{order}I", start)[0], order):
            yield kind, min(_TYPE_BYTES.get(kind, 0) * count, len(tiff))
            if tag in _DIRECTORY_TAGS:
                starts.append(value)


def _read_directory(tiff: bytes, start: int, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, type, number of values, and the values or where they are, of each whole entry of a directory."""
    entry = struct.Struct(f"{order}HHI4s")
    [count] = struct.unpack(f"{order}H", tiff[start : start + 2].ljust(2, b"\0"))
    entries = tiff[start + 2 : start + 2 + entry.size * count]
    yield from entry.iter_unpack(entries[: len(entries) // entry.size * entry.size])
