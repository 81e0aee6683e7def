// The page's own script: draws the figures' panels, isolates what a legend's entry names, sorts and filters tables.
"use strict";

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

const svg = (inner) => {
  const made = element("span");
  made.innerHTML = `<svg width="18" height="12" viewBox="-9 -6 18 12" aria-hidden="true">${inner}</svg>`;  // of numbers and our own paths alone
  return made.firstChild;
};

function sample(entry) {
  const drawn = svg(entry.shape ? '<path transform="scale(5)" fill="none" stroke="currentColor" stroke-width=".28"/>' : '<path d="M-9,0H9" stroke-width="3"/>');
  const path = drawn.firstChild;
  if (entry.shape) path.setAttribute("d", entry.shape);
  else {
    path.setAttribute("stroke", entry.color);
    if (entry.dash[1]) path.setAttribute("stroke-dasharray", entry.dash.join(" "));
  }
  return drawn;
}

// Shows one entry of a legend alone; the same entry again shows all.
function isolate(button, legend, views, signal, label) {
  const chosen = button.getAttribute("aria-pressed") !== "true";
  for (const other of legend.querySelectorAll("button")) if (other.dataset.signal === signal) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", String(chosen));
  legend.classList.toggle("chosen", Boolean(legend.querySelector("[aria-pressed=true]")));
  for (const view of views) view.signal(signal, chosen ? label : null).runAsync();
}

function drawLegend(legend, entries, views) {
  for (const kind of ["scheme", "quantizer"])
    for (const entry of entries[kind] ?? []) {
      const button = element("button", { type: "button" }, sample(entry), entry.label);
      button.dataset.signal = `${kind}_on`;
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => isolate(button, legend, views, `${kind}_on`, entry.label));
      legend.append(button);
    }
}

const quiet = { domainColor: "#888", tickColor: "#888", gridColor: "#888", gridOpacity: 0.22, labelColor: "CanvasText", titleColor: "CanvasText", labelFontSize: 11,
  titleFontSize: 11, titleFontWeight: "normal", labelLimit: 190 };
const options = { renderer: "svg", mode: "vega-lite", actions: { export: true, source: false, compiled: false, editor: false }, tooltip: { theme: "custom" },
  config: { background: "transparent", font: "system-ui, sans-serif", axis: quiet, view: { stroke: null },
    legend: { labelColor: "CanvasText", titleColor: "CanvasText", titleFontWeight: "normal", title: null, gradientLength: 120, gradientThickness: 9 },
    point: { strokeWidth: 1.5 }, rule: { strokeWidth: 1.2 }, line: { strokeWidth: 1.5 }, text: { fontSize: 10.5 } } };

const templates = JSON.parse(document.querySelector("#templates").textContent);
const chosen = "(!isValid(scheme_on) || datum.scheme === scheme_on) && (!isValid(quantizer_on) || datum.quantizer === quantizer_on)";
const onScreen = { ink: "CanvasText", paper: "Canvas", quiet: "#888888", width: "container", title: null, marker_size: { expr: "datum.marked ? 55 : 12" }, arrow_size: 40, scheme_legend: null, quantizer_legend: null,
  line_axis: { title: null, labelLimit: 190, grid: false, ticks: false, domain: false }, opacity: { expr: `(${chosen}) ? 1 : 0.08` } };

// As figures.py does: what fills a place is not looked into.
function filled(template, values) {
  if (typeof template === "string" && template.startsWith("$")) return values[template.slice(1)];
  if (Array.isArray(template)) return template.map((one) => filled(one, values));
  if (template === null || typeof template !== "object") return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, filled(value, values)]));
}

async function drawFigure(figure) {
  const { kind, panels, common, legend, step, height, columns } = JSON.parse(figure.querySelector("script").textContent);
  const views = [];
  drawLegend(figure.querySelector(".legend"), legend, views);
  const place = figure.querySelector(".panels");
  place.classList.toggle("one", panels.length === 1);
  place.classList.toggle("pairs", columns === 2 || panels.length === 2);
  const tall = (panel) => (step ? panel.lines.length * Math.max(20, 1.7 * step) + 24 : height ? 2 * height : 210);
  for (const panel of panels) {
    const chart = element("div", { className: "chart" });
    const unit = panel.unit ? element("p", { className: "unit", textContent: panel.unit }) : "";
    place.append(element("div", { className: "panel" }, element("h4", { textContent: panel.title }), unit, chart));
    const own = filled(templates[kind], { ...onScreen, ...common, ...panel, height: tall(panel), title: null });
    own.params = ["scheme_on", "quantizer_on"].map((name) => ({ name, value: null }));
    views.push((await vegaEmbed(chart, own, options)).view);
  }
}

// Numbers by size, with rows that have none behind them; texts by the alphabet, numbers inside them by size.
const inOrder = new Intl.Collator("en", { numeric: true }).compare;
function compare(a, b) {
  if (a.number === null && b.number === null) return inOrder(a.text, b.text);
  return a.number === null ? 1 : b.number === null ? -1 : a.number - b.number;
}

function sortTable(table, header) {
  const column = header.cellIndex;
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const keyed = [...body.rows].filter((row) => !row.classList.contains("block")).map((row) => {
      const cell = row.cells[column];
      return { row, text: cell.textContent, number: cell.dataset.value ? Number(cell.dataset.value) : null };
    });
    keyed.sort((a, b) => (a.number === null) !== (b.number === null) ? compare(a, b) : down ? compare(b, a) : compare(a, b));
    body.append(...keyed.map((one) => one.row));
  }
}

function filterTable(table, words, output) {
  let shown = 0, all = 0;
  for (const body of table.tBodies) {
    const block = body.querySelector(".block");
    const title = block ? block.textContent.toLowerCase() : "";
    let left = 0;
    for (const row of body.rows) {
      if (row === block) continue;
      row.found ??= row.textContent.toLowerCase();
      row.hidden = !words.every((word) => row.found.includes(word) || title.includes(word));
      left += !row.hidden;
      ++all;
    }
    if (block) block.hidden = left === 0;
    shown += left;
  }
  output.textContent = words.length ? `${shown} of ${all} rows` : "";
}

for (const table of document.querySelectorAll("table")) {
  for (const header of table.tHead.rows[0].cells) header.addEventListener("click", () => sortTable(table, header));
  const filter = table.parentElement.previousElementSibling;
  if (!filter?.classList.contains("filter")) continue;
  const [input, output] = [filter.querySelector("input"), filter.querySelector("output")];
  input.addEventListener("input", () => filterTable(table, input.value.toLowerCase().split(/\s+/).filter(Boolean), output));
}

// Paper shows what is folded.
addEventListener("beforeprint", () => { for (const folded of document.querySelectorAll("details:not([open]):not(.vega-embed details)")) folded.open = true; });

window.drawn = (async () => { for (const figure of document.querySelectorAll("figure")) await drawFigure(figure); })();
