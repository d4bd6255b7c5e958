"""Writes one page that shows results: sentences, a table of numbers, figures side by side, the commands to try next."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from aepipe.files.staged import replacing

_STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1b1b1a; --soft: #5d5d58; --rule: #d9d8d2; --code: #f3f2ed; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161615; --ink: #e8e6e1; --soft: #a3a19a; --rule: #3a3936; --code: #22211f; }
  figure img { filter: brightness(.9); }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: clamp(1.5rem, 5vw, 4rem) clamp(1.1rem, 4vw, 3rem); max-width: 82rem;
  background: var(--paper); color: var(--ink); font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style",
  "Source Serif 4", Palatino, Georgia, serif; }
h1, h2 { line-height: 1.2; font-weight: 600; text-wrap: balance; }
h1 { margin: 0 0 1rem; font-size: clamp(1.75rem, 4.5vw, 2.5rem); letter-spacing: -.01em; }
h2 { margin: 3.25rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--rule); font-size: 1.375rem; }
p { margin: 0 0 1rem; max-width: 42rem; }
.scroll { overflow-x: auto; margin: 2rem 0 0; }
table { border-collapse: collapse; border-block: 2px solid var(--ink); font-variant-numeric: tabular-nums lining-nums; }
caption { padding-bottom: .6rem; text-align: left; color: var(--soft); font-size: .9375rem; }
th, td { padding: .4rem 0 .4rem 2.5rem; text-align: right; font-weight: 400; white-space: nowrap; }
th:first-child { padding-left: .1rem; text-align: left; white-space: normal; }
th:last-child, td:last-child { padding-right: .1rem; }
thead th { border-bottom: 1px solid var(--ink); font-weight: 600; vertical-align: bottom; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.75rem; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: auto; max-width: 100%; height: auto; border: 1px solid var(--rule);
  border-radius: 4px; background: #fff; }
figcaption { margin-top: .6rem; max-width: 42rem; color: var(--soft); font-size: .9375rem; line-height: 1.5; }
pre { margin: 0; padding: 1rem 1.2rem; overflow-x: auto; border: 1px solid var(--rule); border-radius: 4px;
  background: var(--code); font: .875rem/1.8 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.command::before { content: "$ "; color: var(--soft); user-select: none; -webkit-user-select: none; }
.comment { color: var(--soft); }
a:focus-visible, .scroll:focus-visible, pre:focus-visible { outline: 2px solid #4a7fc1; outline-offset: 3px; }
@media (max-width: 34rem) { table { font-size: .9375rem; } th, td { padding-left: .8rem; } h2 { margin-top: 2.5rem; } }
@media print { .scroll, pre { overflow: visible; } pre { white-space: pre-wrap; } figure { break-inside: avoid; } }
"""


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    intro: str,
    table: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    commands: Sequence[str],
    caption: str = "",
) -> None:
    """Writes one HTML file, which opens from the disk and needs nothing but the figures beside it.

    `intro`: paragraphs with blank lines between them. `table`: a dict for each row; the keys of the first row are the columns,
    the first column is the row's name, and the others are numbers or None. `caption` stands above the table. `figures`:
    sections {"heading", "text" (optional), "figures": [{"file", "caption"}]}, where `file` is relative to the page; the figures
    of a section stand side by side. `commands`: shell lines; a line that begins with "#" is a comment. All text is escaped.
    Raises AepipeError if `path` cannot be written.
    """
    body = [f"<header>\n<h1>{escape(title)}</h1>\n{_paragraphs(intro)}\n</header>\n<main>"]
    if table:
        body.append(_table(table, caption))
    body += [_section(section) for section in figures]
    if commands:
        lines = "\n".join(_command(line) for line in commands)
        body.append(f'<section>\n<h2>Try next</h2>\n<pre tabindex="0"><code>{lines}</code></pre>\n</section>')
    content = "\n".join(body)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{content}
</main>
</body>
</html>
"""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{escape(part.strip())}</p>" for part in text.split("\n\n") if part.strip())


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return escape(value)
    return f"{value:,}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.4g}"


def _table(rows: Sequence[Mapping[str, Any]], caption: str) -> str:
    columns = list(rows[0])
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{_number(row.get(column))}</td>" for column in columns[1:])
        lines.append(f'<tr><th scope="row">{escape(str(row[columns[0]]))}</th>{cells}</tr>')
    name = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption or "results")}" tabindex="0">\n<table>\n{name}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>\n</div>"
    )


def _section(section: Mapping[str, Any]) -> str:
    drawn = []
    for figure in section["figures"]:
        file, caption = quote(figure["file"].replace(os.sep, "/")), escape(figure["caption"])
        picture = f'<a href="{file}"><img src="{file}" alt="{caption}" loading="lazy"></a>'
        drawn.append(f"<figure>\n{picture}\n<figcaption>{caption}</figcaption>\n</figure>")
    text = _paragraphs(section.get("text", ""))
    figures = '<div class="figures">\n' + "\n".join(drawn) + "\n</div>"
    return f"<section>\n<h2>{escape(section['heading'])}</h2>\n{text}\n{figures}\n</section>"


def _command(line: str) -> str:
    kind = "comment" if line.startswith("#") else "command"
    return f'<span class="{kind}">{escape(line)}</span>'
