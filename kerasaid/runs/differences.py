"""What moved when strict tests failed: stored against new outputs, side by side, on one page.

`conftest.py` gives it the cells of a pytest run with nbval.
"""

import difflib
import html
import re
from dataclasses import dataclass, field

from kerasaid.runs import pages

_ANSI = re.compile(r"\x1b\[[0-9;]*[a-zA-Z]")
_TOKEN = re.compile(r"\n|[^\W\d_]+|\d+|[^\S\n]+|.")
_NAMES = {"text/plain": "text", "text/html": "HTML", "text/latex": "LaTeX"}
_PICTURES = ("image/png", "image/jpeg")


@dataclass(frozen=True)
class Cell:
    """A code cell that a test ran: its source, its stored and its new outputs."""

    notebook: str
    number: int
    source: str
    stored: list
    new: list
    failed: bool
    reason: str = ""
    heading: str = ""
    sanitise: dict = field(default_factory=dict)  # regular expression to replacement, as nbval's


def page(cells):
    """Return the page over all cells whose test failed.

    Cells that passed show only their pictures, folded, where a picture is not the stored one:
    tests compare a picture's description, not its pixels.

    Args:
        cells: `Cell`s in the order in which they ran, those that passed included.
    """
    books = {}
    for cell in cells:
        books.setdefault(cell.notebook, []).append(cell)
    shown = [
        {
            "name": name,
            "count": len(own),
            "failed": [_shown(cell) for cell in own if cell.failed],
            "drawn": [_shown(cell) for cell in own if not cell.failed and _redrawn(cell)],
        }
        for name, own in books.items()
        if any(cell.failed for cell in own)
    ]
    return pages.render("differences.html.j2", notebooks=shown)


def _shown(cell):
    stored, new = _texts(cell.stored), _texts(cell.new)
    return {
        "cell": cell,
        "texts": [
            {
                "name": _NAMES.get(key, key),
                "rows": side_by_side(stored.get(key, ""), new.get(key, ""), cell.sanitise),
            }
            for key in dict.fromkeys([*stored, *new])
        ],
        "pictures": _pairs(_pictures(cell.stored), _pictures(cell.new)),
    }


def _texts(outputs):
    """Return the text of a cell by kind; of one kind, all outputs together."""
    found = {}
    for output in outputs:
        kind = output.get("output_type")
        if kind == "stream":
            parts = {output["name"]: output["text"]}
        elif kind == "error":
            parts = {"error": _ANSI.sub("", "\n".join(output.get("traceback") or []))}
            parts["error"] = parts["error"] or f"{output.get('ename')}: {output.get('evalue')}"
        else:
            data = output.get("data", {})
            parts = {k: v for k, v in data.items() if isinstance(v, str) and k not in _PICTURES}
        for key, text in parts.items():
            found[key] = f"{found[key]}\n{text}" if key in found else text
    return found


def _pictures(outputs):
    """Return (address, alt) of each picture."""
    return [
        (
            f"data:{kind};base64,{output['data'][kind].strip()}".replace("\n", ""),
            output.get("metadata", {}).get(kind, {}).get("alt", ""),
        )
        for output in outputs
        for kind in _PICTURES
        if kind in output.get("data", {})
    ]


def _pairs(stored, new):
    """Return pictures side by side; None where one side has none."""
    count = max(len(stored), len(new))
    filled = [side + [None] * (count - len(side)) for side in (stored, new)]
    return [{"stored": a, "new": b, "same": a == b} for a, b in zip(*filled)]


def _redrawn(cell):
    """Whether a new picture is not the stored one, pixel by pixel."""
    addresses = [[address for address, _ in _pictures(side)] for side in (cell.stored, cell.new)]
    return addresses[0] != addresses[1]


def side_by_side(stored, new, sanitise=None):
    """Return two texts as rows of HTML: (stored line, new line, whether they differ).

    Within a line that differs, `<del>` and `<ins>` mark the words. What the tests leave out stands
    in `<span class="left-out">` and does not count as a difference.

    Args:
        stored, new: the texts.
        sanitise: a dict from regular expressions to replacements, as nbval takes them.
    """
    a, b = _lines(stored, sanitise or {}), _lines(new, sanitise or {})
    keys = [["".join(key for key, _, _ in line) for line in side] for side in (a, b)]
    rows = []
    matcher = difflib.SequenceMatcher(None, *keys, autojunk=False)
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        for number in range(max(a1 - a0, b1 - b0)):
            left = a[a0 + number] if a0 + number < a1 else None
            right = b[b0 + number] if b0 + number < b1 else None
            rows.append((*_mark(left, right), kind != "equal"))
    return rows


def _lines(text, sanitise):
    """Return the text as lines of (key, text, left out): the key is what is compared."""
    kept = [True] * len(text)
    for pattern, replacement in sanitise.items():
        for match in re.finditer(pattern, text):
            # nbval's rule keeps what the replacement says; here that is a beginning of the match.
            stays = len(_common(match.expand(replacement), match[0]))
            kept[match.start() + stays : match.end()] = [False] * (len(match[0]) - stays)
    lines, line = [], []
    for start, end in _spans(text, kept):
        piece = text[start:end]
        if piece == "\n":
            lines.append(line)
            line = []
        else:
            line.append((piece if kept[start] else "\0", piece, not kept[start]))
    return [*lines, line] if line or not lines else lines


def _spans(text, kept):
    """Return the places of words, signs and line ends; what is left out is one for each line."""
    spans, start = [], 0
    while start < len(text):
        end = start + 1
        if kept[start]:
            end = _TOKEN.match(text, start).end()
            while not all(kept[start:end]):
                end -= 1
        elif text[start] != "\n":
            while end < len(text) and not kept[end] and text[end] != "\n":
                end += 1
        spans.append((start, end))
        start = end
    return spans


def _common(a, b):
    return next((a[:n] for n, (x, y) in enumerate(zip(a, b)) if x != y), min(a, b, key=len))


def _mark(left, right):
    """Return two lines as HTML, their different words marked; None where there is no line."""
    if left is None or right is None:
        return tuple(
            None if line is None else f"<{tag}>{_html(line)}</{tag}>"
            for line, tag in ((left, "del"), (right, "ins"))
        )
    matcher = difflib.SequenceMatcher(
        None, [key for key, _, _ in left], [key for key, _, _ in right], autojunk=False
    )
    texts = ["", ""]
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        for side, part, tag in ((0, left[a0:a1], "del"), (1, right[b0:b1], "ins")):
            if part:
                found = _html(part)
                texts[side] += found if kind == "equal" else f"<{tag}>{found}</{tag}>"
    return tuple(texts)


def _html(parts):
    return "".join(
        f'<span class="left-out">{html.escape(text)}</span>' if left_out else html.escape(text)
        for _, text, left_out in parts
    )
