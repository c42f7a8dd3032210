"""A report as one HTML file that needs nothing else: no network, no server, light and dark, on screen and on paper.

plotly.js lies inside, compressed; the browser unpacks it (DecompressionStream, in all browsers since 2023). Where it
cannot, or scripts are off, the tables have every number. Whatever was written by people is escaped.
"""

from __future__ import annotations

import base64
import gzip
import json
from functools import lru_cache
from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from core.answer.check import LEGEND
from core.files import write_atomically
from core.lab import Lab
from core.store.record import Experiment
from core.study.report.parts import Plot, Section, Table
from core.study.report.report import FIND_RATES, Report, command_of, report_of

STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --faint: #59636e; --line: #d1d9e0; --page: #ffffff; --soft: #f6f8fa;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --faint: #9198a1; --line: #3d444d; --page: #0d1117;
  --soft: #151b23; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; }
.faint, caption { color: var(--faint); font-size: .875rem; }
.answer { border-left: 4px solid var(--accent); background: var(--soft); padding: .5rem 1rem; margin: 1rem 0;
  font-size: 1.05rem; }
.level { border: 1px solid var(--accent); border-radius: 1rem; padding: 0 .6rem; font-size: .875rem;
  white-space: nowrap; }
.scroll { overflow-x: auto; margin: .5rem 0; }
@media (min-width: 64rem) { .scroll { margin-inline: calc((62rem - min(86rem, 100vw - 3rem)) / 2); } }
table { border-collapse: collapse; font-size: .875rem; min-width: 100%; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  font-variant-numeric: tabular-nums; }
th { font-weight: 600; }
th, td { white-space: nowrap; }
.pairs td { white-space: normal; }
.pairs td:first-child { min-width: 8rem; font-weight: 600; }
figure { margin: 1rem 0; break-inside: avoid; overflow: hidden; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .75rem; overflow-x: auto;
  font-size: .875rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.checks { list-style: none; padding-left: 0; columns: 22rem; }
details { margin: .5rem 0; }
@media print { :root { --text: #111; --faint: #444; --line: #bbb; --page: #fff; --soft: #f4f4f4; color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 11pt; } table { font-size: 8.5pt; } th, td { white-space: normal; }
  h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""

SCRIPT = """
(async () => {
  const places = [...document.querySelectorAll(".plot")];
  const sorry = () => places.forEach(place => {
    place.style.height = "auto";
    place.textContent = "This browser cannot draw the figure; the tables have its numbers.";
  });
  try {
    const packed = document.getElementById("plotly").textContent;
    const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  } catch (error) { sorry(); return; }
  const ink = () => getComputedStyle(document.body).color;
  for (const place of places) {
    const figure = JSON.parse(document.getElementById(place.id + "-data").textContent);
    figure.layout.font = { ...figure.layout.font, color: ink() };
    figure.layout.hoverlabel = { font: { color: "#111" }, bgcolor: "#eee" };
    await Plotly.newPlot(place, figure.data, figure.layout, {
      displaylogo: false, responsive: true, toImageButtonOptions: { filename: place.id, scale: 2 },
    });
  }
  const paint = colour => places.forEach(place => Plotly.relayout(place, { "font.color": colour }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(ink()));
  addEventListener("beforeprint", () => paint("#111"));
  addEventListener("afterprint", () => paint(ink()));
  document.body.dataset.drawn = String(places.length);
})();
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
"""What the file may do in a browser: draw itself, and ask nobody for anything."""


def write_report(path: Path, report: Report) -> str:
    """Write the file, whole or not at all; gives its SHA-256. Raises: OSError: it cannot be written."""
    return write_atomically(path, report_html(report).encode())


def report_file(lab: Lab, experiment: Experiment) -> bytes:
    """The file of an experiment at the default margin.

    Raises:
        LabError: no setting has finished without a failed seed.
    """
    return report_html(report_of(lab, experiment)).encode()


def report_html(report: Report) -> str:
    """The file's text."""
    kind = "results" if report.origin else "experiment"
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="faint">Decision report of LoRA Lab, {kind} {escape(report.experiment)}, {report.made}</p>',
        "<h2>The answer</h2>",
        _answer(report),
        _checks(report),
        *map(_paragraph, report.notes),
        *([f'<p class="faint">{escape(report.scope)}</p>'] if report.scope else []),
        *(_paragraph(f"Note: {warning}") for warning in report.warnings),
        "<h2>The question</h2>",
        _paragraph(report.question),
        *(_section(section) for section in report.sections),
        f"<h2>{'What was read' if report.origin else 'What was run'}</h2>",
        _pairs(report.facts),
        f"<h2>{'Where it is from' if report.origin else 'How to run it again'}</h2>",
        "".join(map(_paragraph, report.origin)) or _again(report),
        "<h2>Words</h2>",
        _pairs(report.words),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(report.title)} · LoRA Lab</title>",
            f"<style>{STYLE}</style></head><body>",
            *body,
            f'<script type="text/plain" id="plotly">{packed_plotly()}</script>',
            f"<script>{SCRIPT}</script>",
            "</body></html>\n",
        ]
    )


def _answer(report: Report) -> str:
    """The answer with its level."""
    first, *others = report.answer
    if report.finds_rates and report.file is not None:
        others.append("How the learning rates are found, with one command, is said below: How to run it again.")
    level = f' <span class="level">{escape(report.level)}</span>' if report.level else ""
    return f'<div class="answer"><p><strong>{escape(first)}</strong>{level}</p>{"".join(map(_paragraph, others))}</div>'


def _checks(report: Report) -> str:
    """What could undo the answer, as a list with marks; empty where nothing is compared."""
    lines = "".join(f"<li>{escape(check.text)}</li>" for check in report.checks)
    return f'<p>What could undo it ({LEGEND}):</p><ul class="checks">{lines}</ul>' if lines else ""


@lru_cache(maxsize=1)
def packed_plotly() -> str:
    """plotly.js, compressed and in base64; the same bytes every time."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _section(section: Section) -> str:
    parts = [_plot(part) if isinstance(part, Plot) else _table(part) for part in section.parts]
    return "\n".join([f"<h2>{escape(section.title)}</h2>", _paragraph(section.lead), *parts])


def _plot(plot: Plot) -> str:
    id, height = f"plot-{escape(plot.key)}", plot.figure.layout.height or 400
    return (
        f'<figure><div class="plot" id="{id}" role="img" aria-label="{escape(plot.alt)}" style="height: {height}px">'
        f"<noscript>{escape(plot.alt)}: this needs JavaScript; the tables have its numbers.</noscript></div>"
        f'<script type="application/json" id="{id}-data">{_json(plot.figure)}</script></figure>'
    )


def _json(figure: go.Figure) -> str:
    """The figure without a template, and without a letter that could end the element it stands in."""
    bare = go.Figure(figure)
    bare.layout.template = None
    values = json.loads(bare.to_json())
    text = json.dumps({"data": values["data"], "layout": values["layout"]}, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(table: Table) -> str:
    note = f'<p class="faint">{escape(table.note)}</p>' if table.note else ""
    head = "".join(f"<th>{escape(str(title))}</th>" for title in table.frame.columns)
    cells = (
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in table.frame.to_numpy(object)
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(cells)}</tbody></table>"
    return f'<h3>{escape(table.title)}</h3><div class="scroll">{whole}</div>{note}'


def _pairs(pairs: tuple[tuple[str, str], ...]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in pairs)
    return f'<div class="scroll"><table class="pairs"><tbody>{rows}</tbody></table></div>'


def _again(report: Report) -> str:
    specs = "\n".join(report.specs)
    details = f"<details><summary>Specs of one run of each setting</summary><pre>{escape(specs)}</pre></details>"
    if report.file is None:
        words = (
            "No file gives these runs again, since their base is gone. The same spec gives the same numbers on the "
            "same machine; these are the specs of one run of each setting, which differ from the others in the seed "
            "and, where it was tuned, in the learning rate."
        )
        return _paragraph(words) + details.replace("<details>", "<details open>")
    words = f"Save this as {report.experiment}.json, and run it in the folder of LoRA Lab, with the datasets there:"
    search = ""
    if report.finds_rates:
        search = f"{_paragraph(f'{FIND_RATES}:')}<pre>{escape(command_of(report.experiment, '--tune'))}</pre>"
    return f"{_paragraph(words)}<pre>{escape(report.file)}</pre><pre>{escape(report.command)}</pre>{search}{details}"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
