"""Find out in which encoding a text file is."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path
from typing import BinaryIO

from tokensieve.errors import InputError

PUNCTUATION = "€‚„…†‡‰‹‘’“”•–—™›¡£§©«®°±²³·»¿×"
# Byte order marks. UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"  # how these files begin
START = 1024  # bytes in which UTF-16 shows
# So many bytes beyond one per character, all valid as UTF-8, are enough to know that it is UTF-8.
SURE_BYTES = 1000
# Characters that UTF-8 has where a single-byte encoding would have two or three unlikely ones: é as
# Ã©. Other characters, such as ə for É™, need some company.
LIKELY = re.compile(r"[\u00a0-\u00ff\u2010-\u2026\u20ac]")
MORE_THAN_ONE_WORD = 3  # different characters
# Two bytes of a Chinese or Japanese encoding can be valid as UTF-8 by chance, a number of them not.
MORE_THAN_CHANCE = 16


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start of a file names. None: no mark."""
    return next((name for mark, name in MARKS.items() if start.startswith(mark)), None)


def encoding_of(path: Path, file: BinaryIO, given: str | None = None) -> str:
    """Return the encoding to read a file with: its byte order mark's, or else `given`, or UTF-8.

    `file` is the open file `path`, at its start. Some or all of it is read.

    Raises:
        InputError: If the file is no text; if it is UTF-16 without a mark, and `given` is not; or
            if it is UTF-8, and `given` would make other characters of it.
    """
    start = file.read(START)
    if start.startswith(ZIP):
        raise InputError(f"{path} is an Excel file or a zip archive; save it as CSV")
    if start.startswith(GZIP):
        raise InputError(f"{path} is compressed by gzip; name it {path.name}.gz")
    marked = marked_encoding(start)
    if marked:
        return marked
    name = codecs.lookup(given or "utf-8").name
    # An encoding that is not like this, for example UTF-16, gives errors or is right.
    if "text,".encode(name, "replace") != b"text,":
        return name
    wide = _wide_encoding(start)
    if wide:
        raise InputError(
            f"{path} looks like UTF-16 without a byte order mark (every other byte is 0); save it as UTF-8 "
            f"(iconv -f {wide} -t utf-8), or for the data of a project --set data.encoding={wide}"
        )
    if not name.startswith("utf-8") and _is_utf8(start, file, name):
        raise InputError(
            f"{path} is UTF-8, and data.encoding={given} would make other characters of it; use --set "
            f"data.encoding=auto, or save the file in that encoding (iconv -f utf-8 -t {given})"
        )
    return name


def likely_encoding(line: bytes) -> str:
    """Return the likely encoding of a line that is not UTF-8.

    It is Windows-1252, which has the characters of Latin-1, if that gives Latin letters and
    punctuation. Otherwise charset-normalizer guesses, if it is installed.
    """
    text = line.decode("cp1252", "replace")
    if all(char.isascii() or char in PUNCTUATION or "LATIN" in unicodedata.name(char, "") for char in text):
        return "cp1252"
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # an installation for serving
        return "cp1252"
    best = from_bytes(line).best()
    return str(best.encoding) if best else "cp1252"


def _wide_encoding(start: bytes) -> str | None:
    """Return the byte order of UTF-16 if half of the other bytes are 0, as in Latin letters."""
    even, odd = start[::2], start[1::2]
    for name, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if 2 * zeros.count(0) >= max(2, len(zeros)) and not others.count(0):
            return name
    return None


def _is_utf8(start: bytes, file: BinaryIO, name: str) -> bool:
    """Return whether a file has characters beyond ASCII, and all of them are valid as UTF-8."""
    is_single_byte = len(bytes(range(128, 256)).decode(name, "replace")) == 128
    decoder, extra, block = codecs.getincrementaldecoder("utf-8")(), 0, start
    found: set[str] = set()
    try:
        while block and extra < SURE_BYTES:
            text = decoder.decode(block)
            extra += len(block) - len(text)
            found.update(char for char in text if not char.isascii())
            block = file.read(2**20)
        if not block:
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    if is_single_byte:
        return len(found) >= MORE_THAN_ONE_WORD or any(map(LIKELY.match, found))
    return extra >= MORE_THAN_CHANCE
