"""Writes sections as report.html: one file that needs no network, with figures by Vega-Lite, whose scripts it contains.

The page is page.html (a template that escapes whatever comes from files), page.css and page.js.  Its policy lets only these two scripts run."""

import base64
import contextlib
import hashlib
import json
import os
import re
from pathlib import Path

import jinja2
import vl_convert
from json_lines import write_atomically
from markupsafe import Markup, escape

from .charts import template
from .figures import Figure, version
from .markdown import scales_differ

HERE = Path(__file__).resolve().parent


def safe_json(value):
    """Returns JSON that can stand inside a script element: no tag can begin or end in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def drawing(figure):
    """Returns what page.js draws a figure from."""
    shown = {kind: entries if len(entries) > 1 else [] for kind, entries in figure.legend.items()}
    return safe_json(
        {
            "kind": figure.kind,
            "panels": figure.panels,
            "common": figure.common,
            "legend": shown,
            "step": figure.step,
            "height": figure.height,
            "columns": figure.columns,
        }
    )


def marked(text):
    """Returns our own words with their `code`."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def allowed(script):
    """Returns the hash by which the page's policy lets a script run, and no other."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def vega_script():
    """Returns Vega-Lite's script, which takes two seconds to put together and is the same for every report: it is kept in the program's cache, behind
    its hash."""
    own, user = os.environ.get("QROAR_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(user or Path.home() / ".cache") / "qroar"
    kept = folder / "reports" / f"vega-lite-{version()}-by-{vl_convert.__version__}.js"
    with contextlib.suppress(OSError, ValueError):
        digest, _, script = kept.read_text(encoding="utf-8").partition("\n")
        if digest == allowed(script):
            return script
    script = vl_convert.javascript_bundle(vl_version=version())
    with contextlib.suppress(OSError):  # a home that cannot be written to
        write_atomically(kept, [f"{allowed(script)}\n{script}".encode()])
    return script


def render(sections):
    vega = vega_script()
    script = (HERE / "page.js").read_text(encoding="utf-8")
    kinds = dict.fromkeys(part.kind for section in sections for part in section.parts if isinstance(part, Figure))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"drawing": drawing, "marked": marked}
    environment.tests["own_scales"] = scales_differ
    return environment.get_template("page.html").render(
        head=sections[0],
        sections=sections[1:],
        kind_of=lambda part: type(part).__name__,
        templates=safe_json({kind: template(kind) for kind in kinds}),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        vega=Markup(vega),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-eval' {allowed(vega)} {allowed(script)}",
    )
