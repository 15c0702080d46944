"""One HTML file that needs nothing else: no scripts, no network, pictures inlined, every text from elsewhere escaped.

The page's own policy (Content-Security-Policy) forbids scripts and all loading, so that even a mistake here could do nothing.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"GIF87a": "image/gif", b"GIF89a": "image/gif"}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d5dbe1; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .92rem; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; overflow-wrap: anywhere; }
th { color: #5a6875; font-weight: 600; }
th, td a { white-space: nowrap; }
tr + tr td { border-top: 1px solid #eef1f4; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #5a6875; font-size: .9rem; }
.mark { border-left: 5px solid #b9c4ce; padding: .3rem .8rem; margin: .4rem 0; }
.good { border-color: #3f8f5b; }
.caution { border-color: #d1902f; }
.bad { border-color: #b8433a; }
"""


def page(title: str, body: Iterable[str]) -> str:
    """The whole file; `body` holds pieces that the functions below have made."""
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n' + (
        "\n".join(body) + "\n</body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def marked(text: str, mark: str) -> str:
    """A paragraph with a coloured edge: good, caution, bad or note."""
    return f'<p class="mark {escape(mark)}">{escape(text)}</p>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell that begins with https://doi.org/ becomes a link, None an empty cell."""
    top = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = ["<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><thead><tr>{top}</tr></thead><tbody>" + "\n".join(lines) + "</tbody></table>"


def picture(path: Path, caption: str) -> str | None:
    """A figure with the file's bytes inside; None where it is no PNG or GIF, whatever its name says."""
    content = path.read_bytes()
    kind = next((kind for start, kind in PICTURES.items() if content.startswith(start)), None)
    if kind is None:
        return None
    words = escape(caption)
    data = base64.b64encode(content).decode()
    return f'<figure><img alt="{words}" src="data:{kind};base64,{data}"><figcaption>{words}</figcaption></figure>'


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    safe = escape(text)
    return f'<a href="{safe}">{safe.removeprefix("https://doi.org/")}</a>' if text.startswith("https://doi.org/") else safe
