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

import numpy as np

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


class Bytes(NamedTuple):
    """What a look at all bytes of a text in UTF-8 tells.

    Attributes:
        lines: how many lines it has, up to the last that is not blank.
        underscore: where its last underscore stands; -1 without one.
        alike: whether all its lines end alike, in LF or CRLF.
    """

    lines: int
    underscore: int
    alike: bool


class Written(NamedTuple):
    """What a file is written in.

    Attributes:
        encoding: Python's name.
        guessed: whether it is neither what the user said nor what every reader tries first.
        content: of UTF-8 without a byte order mark, what its bytes tell; else None.
    """

    encoding: str
    guessed: bool
    content: Bytes | None = None


class PlainText(NamedTuple):
    """A file as text.

    Attributes:
        path: a file in UTF-8 without a byte order mark.
        head: its first characters, whole lines where it has several.
        written: what the original is written in.
        content: what its bytes tell.
    """

    path: Path
    head: str
    written: Written
    content: Bytes


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
        content = written.content
        if content is not None and content.alike and not blanks and path.suffix.lower() not in UNPACKED:
            yield PlainText(path, _head(path, path), written, content)
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
            with copy.open("rb") as file:
                content = look_at_bytes(file)
            yield PlainText(copy, _head(copy, path), written, content)
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


def look_at_bytes(file: IO[bytes]) -> Bytes:
    """Read a text once for whatever its bytes tell.

    Raises:
        UnicodeDecodeError: what is not UTF-8, with its place in the file.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    feeds = returns = both = empty = position = 0
    underscore, last, waiting, piece = -1, b"", False, b""
    try:
        while piece := file.read(PIECE):
            if waiting or not piece.isascii():
                decoder.decode(piece)
                waiting = bool(decoder.getstate()[0])
            byte = np.frombuffer(last + piece if last == b"\r" else piece, np.uint8)  # faster than bytes.count
            feed = byte == ord("\n")
            feeds += int(np.count_nonzero(feed))
            if b"\r" in piece or last == b"\r":
                is_return = byte == ord("\r")
                returns += int(np.count_nonzero(is_return)) - (last == b"\r")
                both += int(np.count_nonzero(is_return[:-1] & feed[1:]))
            text = piece.rstrip()
            empty = piece[len(text) :].count(b"\n") + (0 if text else empty)
            if b"_" in piece:
                underscore = position + piece.rindex(b"_")
            last, position = piece[-1:], position + len(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        before = len(error.object) - len(piece)  # bytes of the character that the piece before began
        at = max(position - before, 0) + error.start
        raise UnicodeDecodeError("utf-8", error.object, at, at + 1, error.reason) from error
    return Bytes(feeds - empty + 1, underscore, returns == 0 or returns == feeds == both)


def _head(path: Path, named: Path) -> str:
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
    return "".join(lines)


def _written(path: Path, encoding: str | None) -> Written:
    said = None if encoding is None else codecs.lookup(encoding).name.removesuffix("-sig")
    if said not in (None, "utf-8"):
        return Written(said, False)
    with _opened(path) as file:
        mark = file.read(len(codecs.BOM_UTF8))
        if said is None and mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Written("utf-16", False)
        file.seek(0)
        try:
            content = look_at_bytes(file)
        except UnicodeDecodeError:
            if said is not None:
                raise
            return Written(FALLBACK, True)
    return Written("utf-8", False, None if mark == codecs.BOM_UTF8 else content)


FALLBACK = "cp1252"
"""What is tried where text is not UTF-8: the Western European encoding of Windows, in which Latin-1 reads alike."""


def _opened(path: Path) -> IO[bytes]:
    opening = UNPACKED.get(path.suffix.lower())
    return path.open("rb") if opening is None else opening(path, "rb")


def _tabs(line: str) -> str:
    content = line.rstrip("\r\n")
    return re.sub(r"[ \t]+", "\t", content.strip(" \t")) + line[len(content) :]
