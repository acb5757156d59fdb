"""Text that comes from data and configs, as terminals, Markdown, pages and pictures show it and nothing more."""

from __future__ import annotations

import re

HIDDEN = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    **{code: f"\\u{code:04x}" for code in (0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F))},
    **{code: f"\\u{code:04x}" for code in range(0x2066, 0x206A)},
    **{code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)},
}
"""What commands a terminal, turns the direction of text around or cannot be written: control characters, marks and half
characters; shown as Python writes them."""

KEPT = {code: text for code, text in HIDDEN.items() if code not in (9, 10)}

LABEL = 160
"""Characters of a label in a picture at most."""

MARKS = re.compile(r"([\\`*_\[\]|~$#])")


def visible(text: str, lines: bool = False) -> str:
    """Text whose control characters are seen and do nothing.

    Args:
        text: any.
        lines: whether line ends and tabs stay.

    Example:
        >>> visible("a\\x1b[31mb")
        'a\\\\x1b[31mb'
    """
    return text.translate(KEPT if lines else HIDDEN)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line, also in a cell of a table: no markup, links, HTML or mathematics.

    Example:
        >>> markdown("[a](javascript:b) <img src=c>")
        '\\\\[a\\\\](javascript:b) &lt;img src=c&gt;'
    """
    plain = visible(" ".join(text.split()))
    return MARKS.sub(r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def markdown_code(text: str) -> str:
    """Text in code quotes of Markdown; its own quotes are shown, too."""
    plain = visible(" ".join(text.split()))
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def drawn(text: str) -> str:
    """Text, not too long, as a label in a picture.

    Matplotlib would set what stands between two dollars as mathematics, and leave a label that begins with an
    underscore out of a legend.

    Example:
        >>> drawn("$a$"), drawn("_b")
        ('\\\\$a\\\\$', ' _b')
    """
    short = text if len(text) <= LABEL else f"{text[: LABEL * 2 // 3]} ... {text[-LABEL // 4 :]}"
    plain = visible(short, lines=True).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain
