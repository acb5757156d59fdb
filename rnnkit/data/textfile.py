"""Text files as UTF-8: compressed, in another encoding, or parted by blanks, they are copied to a temporary file."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from rnnkit.errors import SourceError

HEAD = 300
"""Lines at the beginning of a file from which its dialect is found out."""

PIECE = 1 << 16
"""Bytes that are looked at or copied at a time."""

UNPACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""How packed files are opened, by their last suffix."""

TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat")
"""Suffixes of text files; each may be followed by one of `UNPACKED`."""


def text_suffix(path: Path) -> str | None:
    """The suffix of a text file, without that of packing; None for another kind of file."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in UNPACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in TEXT else None


def text_stem(path: Path) -> str:
    """A file's name without the suffixes of text and packing."""
    return Path(path.stem).stem if path.suffix.lower() in UNPACKED and text_suffix(path) else path.stem


class Written(NamedTuple):
    """What a file is written in.

    Attributes:
        encoding: Python's name.
        guessed: whether it is neither what the user said nor what every reader tries first.
        marked: whether it begins with a byte order mark.
    """

    encoding: str
    guessed: bool
    marked: bool = False


class PlainText(NamedTuple):
    """A file as text.

    Attributes:
        path: a file in UTF-8 without a byte order mark.
        head: its first characters, whole lines where it has several.
        written: what the original is written in.
    """

    path: Path
    head: str
    written: Written


@contextmanager
def plain_text(path: Path, encoding: str | None, blanks: bool = False) -> Iterator[PlainText]:
    """A file as UTF-8 text, a temporary one where it is not so already.

    Args:
        path: the file.
        encoding: as the user said it, or None.
        blanks: whether any number of blanks parts its cells; they become tabs.

    Raises:
        SourceError: text that is not in its encoding, or a packed file that is damaged.
    """
    who = repr(str(path))
    try:
        written = _written(path, encoding)
        plain = written.encoding == "utf-8" and not written.marked and not blanks
        if plain and path.suffix.lower() not in UNPACKED:
            yield _plain(path, written)
            return
        with tempfile.TemporaryDirectory(prefix="rnnkit-") as folder:
            copy = Path(folder) / "text.csv"
            with _opened(path) as packed, copy.open("w", encoding="utf-8", newline="") as made:
                text = io.TextIOWrapper(
                    packed, "utf-8-sig" if written.encoding == "utf-8" else written.encoding, newline=""
                )
                if blanks:
                    made.writelines(_tabs(line) for line in text)
                else:
                    while piece := text.read(PIECE):
                        made.write(piece)
            yield _plain(copy, written)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{who} is not text in {error.encoding} ({error.reason} at byte {error.start:,}); say encoding='cp1252', "
            f"or what it is written in"
        ) from error
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SourceError(f"{who} cannot be unpacked: {error}; it seems to be damaged, make it again") from error


def line_at(path: Path, position: int) -> int:
    """The line, from 1, that begins at a byte, or after the line ends that stand there."""
    with path.open("rb") as file:
        file.seek(position)
        while file.read(1) in (b"\r", b"\n"):
            position += 1
        file.seek(0)
        found = 0
        while position > 0 and (piece := file.read(min(PIECE, position))):
            found, position = found + piece.count(b"\n"), position - len(piece)
    return found + 1


class Bytes(NamedTuple):
    """What a look at all bytes of a file tells.

    Attributes:
        lines: how many lines it has, up to the last that is not blank.
        quotes: whether a quotation mark stands anywhere.
        blank: whether there are empty lines before the last rows.
        underscores: whether an underscore stands anywhere.
    """

    lines: int
    quotes: bool
    blank: bool
    underscores: bool


def look_at_bytes(path: Path) -> Bytes:
    """Count the lines of a file and look for what makes rows and lines differ."""
    lines, quotes, underscores, blank, tail = 0, False, False, False, b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            lines += piece.count(b"\n")
            quotes, underscores = quotes or b'"' in piece, underscores or b"_" in piece
            seam = tail + piece
            text = seam.rstrip()
            blank = blank or any(ends in text for ends in (b"\n\n", b"\n\r\n", b"\n\r\r\n"))
            tail = seam[len(text) :]
    ends = tail.count(b"\n")
    return Bytes(lines - ends + 1, quotes, blank, underscores)


def _plain(path: Path, written: Written) -> PlainText:
    with path.open(encoding="utf-8", newline="") as file:
        return PlainText(path, "".join(islice(file, HEAD)), written)


def _written(path: Path, encoding: str | None) -> Written:
    with _opened(path) as file:
        piece = file.read(PIECE)
        marked = piece.startswith(codecs.BOM_UTF8)
        if encoding is not None:
            name = codecs.lookup(encoding).name
            return Written("utf-8" if name == "utf-8-sig" else name, False, marked)
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Written("utf-16", False)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while piece:
                decoder.decode(piece)
                piece = file.read(PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return Written(FALLBACK, True)
    return Written("utf-8", False, marked)


FALLBACK = "cp1252"
"""What is tried where text is not UTF-8: the Western European encoding of Windows, in which Latin-1 reads alike."""


def _opened(path: Path) -> IO[bytes]:
    opening = UNPACKED.get(path.suffix.lower())
    return path.open("rb") if opening is None else opening(path, "rb")


def _tabs(line: str) -> str:
    content = line.rstrip("\r\n")
    return re.sub(r"[ \t]+", "\t", content.strip(" \t")) + line[len(content) :]
