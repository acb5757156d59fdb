"""Text files as UTF-8: compressed, in another encoding, or parted by blanks, they are copied to a temporary file."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from rnnkit.errors import SourceError

HEAD = 300
"""Lines at the beginning of a file from which its dialect is found out, fewer where they are long."""

HEAD_SIZE = 1 << 20
"""Characters after which no further line is looked at."""

LONGEST = 1 << 24
"""Characters that a line has at most."""

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
        plain: whether it is UTF-8 without a byte order mark whose lines all end alike, in LF or CRLF.
    """

    encoding: str
    guessed: bool
    plain: bool = False


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
        if written.plain and not blanks and path.suffix.lower() not in UNPACKED:
            yield _plain(path, path, written)
            return
        with tempfile.TemporaryDirectory(prefix="rnnkit-") as folder:
            copy = Path(folder) / "text.csv"
            with _opened(path) as packed, copy.open("w", encoding="utf-8", newline="") as made:
                text = io.TextIOWrapper(packed, "utf-8-sig" if written.encoding == "utf-8" else written.encoding)
                if blanks:
                    made.writelines(_tabs(line) for line in text)
                else:
                    while piece := text.read(PIECE):
                        made.write(piece)
            yield _plain(copy, path, written)
    except UnicodeDecodeError as error:
        if encoding is None:
            raise SourceError(
                f"{who} is text neither in utf-8 nor in {FALLBACK}; say what it is written in, such as "
                f"encoding='shift-jis', if it is text"
            ) from error
        raise SourceError(
            f"{who} is not text in {encoding} ({error.reason} at byte {error.start:,}); say encoding='cp1252', "
            f"or what it is written in"
        ) from error
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SourceError(f"{who} cannot be unpacked: {error}; it seems to be damaged, make it again") from error


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Say of a file that changes while it is read that it does, whatever comes of it.

    Raises:
        SourceError: it has changed.
    """

    def state() -> tuple[int, int]:
        found = path.stat()
        return found.st_size, found.st_mtime_ns

    before, cause = state(), None
    try:
        yield
    except Exception as error:
        if not path.exists() or state() == before:
            raise
        cause = error
    if path.exists() and state() != before:
        raise SourceError(
            f"{str(path)!r} changed while it was read; open it when it is whole, or a copy of it"
        ) from cause


def lines_at(path: Path, positions: Sequence[int]) -> list[int]:
    """The lines, from 1, that begin at some bytes, ascending, or after the line ends that stand there."""
    lines, found, done = [], 1, 0
    with path.open("rb") as file:
        for position in positions:
            file.seek(position)
            while file.read(1) in (b"\r", b"\n"):
                position += 1
            file.seek(done)
            while done < position and (piece := file.read(min(PIECE, position - done))):
                found, done = found + piece.count(b"\n"), done + len(piece)
            lines.append(found)
    return lines


class Bytes(NamedTuple):
    """What a look at all bytes of a file tells.

    Attributes:
        lines: how many lines it has, up to the last that is not blank.
        underscores: whether an underscore stands anywhere.
    """

    lines: int
    underscores: bool


def look_at_bytes(path: Path) -> Bytes:
    """Count the lines of a file, and look for an underscore."""
    lines, empty, underscores = 0, 0, False
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            lines += piece.count(b"\n")
            underscores = underscores or b"_" in piece
            text = piece.rstrip()
            empty = piece[len(text) :].count(b"\n") + (0 if text else empty)
    return Bytes(lines - empty + 1, underscores)


def _plain(path: Path, named: Path, written: Written) -> PlainText:
    lines, size = [], 0
    with path.open(encoding="utf-8", newline="\n") as file:
        while len(lines) < HEAD and size < HEAD_SIZE and (line := file.readline(LONGEST + 1)):
            if len(line) > LONGEST:
                raise SourceError(
                    f"{str(named)!r}, line {len(lines) + 1} has more than {LONGEST:,} characters; no line of a table "
                    f"is so long: check what the file is"
                )
            lines.append(line)
            size += len(line)
    return PlainText(path, "".join(lines), written)


def _written(path: Path, encoding: str | None) -> Written:
    said = None if encoding is None else codecs.lookup(encoding).name.removesuffix("-sig")
    if said not in (None, "utf-8"):
        return Written(said, False)
    with _opened(path) as file:
        piece, position = file.read(PIECE), 0
        if said is None and piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Written("utf-16", False)
        marked = piece.startswith(codecs.BOM_UTF8)
        decoder = codecs.getincrementaldecoder("utf-8")()
        returns = feeds = both = 0
        last = b""
        try:
            while piece:
                decoder.decode(piece)
                returns, feeds = returns + piece.count(b"\r"), feeds + piece.count(b"\n")
                both += (last + piece).count(b"\r\n") if returns else 0
                last, position = piece[-1:], position + len(piece)
                piece = file.read(PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            if said is not None:
                waiting = len(error.object) - len(piece)  # bytes of the character that the piece before began
                at = max(position - waiting, 0) + error.start
                raise UnicodeDecodeError("utf-8", error.object, at, at + 1, error.reason) from error
            return Written(FALLBACK, True)
    return Written("utf-8", False, not marked and (returns == 0 or returns == feeds == both))


FALLBACK = "cp1252"
"""What is tried where text is not UTF-8: the Western European encoding of Windows, in which Latin-1 reads alike."""


def _opened(path: Path) -> IO[bytes]:
    opening = UNPACKED.get(path.suffix.lower())
    return path.open("rb") if opening is None else opening(path, "rb")


def _tabs(line: str) -> str:
    content = line.rstrip("\r\n")
    return re.sub(r"[ \t]+", "\t", content.strip(" \t")) + line[len(content) :]
