"""Clauses x faults as one HTML page that needs nothing else: the picture, then a row a fault."""

from __future__ import annotations

from html import escape
from pathlib import Path

from properties.reports.matrix_picture import svg
from properties.reports.matrix_text import headline, levelled, met, shape, summary
from properties.zoo.matrix import Matrix, Row

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #57606a; --paper: #fff; --line: #d0d7de;
        --bad: #cf222e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9da7b3; --paper: #0d1117; --line: #30363d; --bad: #ff6b61 } }
body { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink);
       background: var(--paper); max-width: 1100px; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.picture { overflow-x: auto } .picture svg { min-width: 760px; width: 100%; height: auto }
table { border-collapse: collapse; width: 100%; font-size: 13px }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0;
         border-top: 1px solid var(--line); overflow-wrap: anywhere }
th[scope=row] { width: 17% } td.met { width: 12% } td.source { width: 16% }
td.symptom { width: 22% }
.faint, td.source { color: var(--faint) } .bad { color: var(--bad) } code { font-size: 12px }
ul { padding-left: 1.2rem }
@media (max-width: 720px) {
  thead { display: none } tr, th[scope=row], td, td.met, td.source, td.symptom
  { display: block; width: auto; padding: .1rem 0; border: 0 }
  tr { border-top: 1px solid var(--line); padding: .6rem 0 } }
"""
HEADINGS = ("fault", "what a user sees", "source", "first counterexample", "caught by")


def write(matrix: Matrix, path: Path) -> None:
    """The page as a file."""
    path.write_text(page(matrix), encoding="utf-8")


def page(matrix: Matrix) -> str:
    """The whole page."""
    title = escape(headline(matrix))
    lines = "".join(f"<li>{escape(line)}</li>" for line in summary(matrix))
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    body = "\n".join(map(table_row, matrix.rows))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<ul>{lines}</ul>
<div class="picture">
{svg(matrix, hover=True)}</div>
<h2>Faults</h2>
<table>
<thead><tr>{headings}</tr></thead>
<tbody>
{body}
</tbody>
</table>
{clause_list(matrix)}
</body>
</html>
"""


def table_row(row: Row) -> str:
    """One fault."""
    first = '<span class="bad">survives</span>'
    if row.first:
        first = f"{met(row.first)}<br>{shape(row.first.size)}"
    killers = [f"<code>{escape(levelled(id))}</code>" for id in row.killers]
    caught = "<br>".join([f"<strong>{killers[0]}</strong>", *killers[1:]] if killers else [])
    return (
        f'<tr id="{escape(row.fault)}"><th scope="row">{escape(row.fault)}<br>'
        f'<span class="faint">{escape(row.area)}, {escape(row.family)}</span></th>'
        f'<td class="symptom">{escape(row.symptom)}</td>'
        f'<td class="source">{escape(row.source)}</td>'
        f'<td class="met">{first}</td><td>{caught}</td></tr>'
    )


def clause_list(matrix: Matrix) -> str:
    """Every clause with the number of faults that it kills, and those that nothing else does."""
    items = []
    single = matrix.single
    for id, killed in matrix.kills.items():
        if not killed and id not in matrix.owed:
            continue
        style = "" if killed else ' class="bad"'
        alone = f"; alone: {', '.join(map(link, single[id]))}" if single[id] else ""
        items.append(f"<li><code{style}>{escape(levelled(id))}</code> {len(killed)}{alone}</li>")
    return f"<h2>Clauses, and how many faults each kills</h2>\n<ul>{''.join(items)}</ul>"


def link(fault: str) -> str:
    """To a fault's row."""
    return f'<a href="#{escape(fault)}">{escape(fault)}</a>'
