"""`show --format latex` and `--format pgfplots` in a document that pdflatex compiles."""
import json
import re
import subprocess

import pytest

from support.program import read_rows
from support.tasks import write_five_texts

W3 = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("latex")


@pytest.fixture
def results(run, experiment, folder):
    """Two schemes by two formats by two lengths over five documents, one with a name that is special to LaTeX; run once."""
    if not (folder / "results/rows.jsonl").exists():
        texts = write_five_texts(folder / "a_b%~^#.jsonl")
        quant = [[], [W3[0] | {"name": r"W3 \$_{|}^~&<%#"}]]
        file = experiment({"data": {"path": str(texts), "min_tokens": 16, "max_tokens": 5000}, "model.dtype": "float32",
                           "sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 4}], "quant": quant, "windows.length": [64, 256]}]})
        process = run("run", file, "--results", folder / "results")
        assert process.returncode == 0, process.stderr
    return folder / "results"


def compiled(folder, body, packages):
    """The text of the log of pdflatex; the document has the packages, and nothing else in its preamble."""
    (folder / "paper.tex").write_text("\\documentclass{article}\n" + packages + "\\begin{document}\n" + body + "\\end{document}\n", encoding="utf-8")
    process = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=folder, capture_output=True, text=True,
                             errors="replace", timeout=120, check=False)
    assert process.returncode == 0 and (folder / "paper.pdf").exists(), process.stdout[-3000:]
    return process.stdout


@pytest.mark.parametrize(("options", "tables"), [([], 1), (["--baseline", "quant=none"], 2), (["--interaction", "rope,quant"], 1),
                                                 (["--baseline", "rope=none", "--draws"], 2)])
def test_tables_compile_as_they_are(results, run, tmp_path, options, tables):
    shown = run("show", results, "--format", "latex", *options)
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "table.tex").write_text(shown.stdout, encoding="utf-8")
    packages = re.match(r"% (\\usepackage\{[a-z, ]+\})\n", shown.stdout)[1] + "\n"
    log = compiled(tmp_path, "\\input{table}\n", packages)
    assert "Missing character" not in log and "Overfull" not in log and "Float too large" not in log
    labels = [f"tab:results{options[1:2] and '-' + re.sub('[^a-z]', '-', options[1]) or ''}{ending}" for ending in ("", "-2")[:tables]]
    assert re.findall(r"\\label\{(.*)\}\n", shown.stdout) == labels
    assert shown.stdout.count("\\begin{table}") == shown.stdout.count("\\end{table}") == tables


def test_tables_wider_and_longer_than_a_page_are_made_to_fit(run, experiment, tmp_path):
    """Fifty rows with long names and no grid, since there is one length alone: without ids and costs, which are for the screen."""
    quant = [[{"match": "layers.*", "weight": W3[0]["weight"] | {"clip": 0.5 + number / 100}, "name": f"one of many formats, {number}"}] for number in range(50)]
    file = experiment({"data": {"path": str(write_five_texts(tmp_path / "texts.jsonl"))}, "windows": {"length": 64, "tail": "keep"}, "model.dtype": "float32",
                       "sweep": [{"quant": quant, "kv": [{"type": "fake_quant", "key": W3[0]["weight"], "value": W3[0]["weight"]}], "rounding.draw": [0]}],
                       "metrics": ["perplexity", "bits_per_byte"]})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    shown = run("show", tmp_path / "results", "--format", "latex").stdout
    (tmp_path / "table.tex").write_text(shown, encoding="utf-8")
    log = compiled(tmp_path, "\\input{table}\n", "\\usepackage{booktabs, graphicx, siunitx}\n")
    assert "Overfull" not in log and "Float too large" not in log
    assert shown.count("\\begin{table}") == 2 and "\\caption{Continued.}" in shown and shown.count("\\label{") == 1 and shown.count("one of many formats, ") == 50
    assert "TFLOP" not in shown and not any(cell[:8] in shown for cell in read_rows(tmp_path / "results"))


def test_the_caption_names_model_texts_protocol_and_draws(results, run):
    text = run("show", results, "--format", "latex").stdout
    caption, = re.findall(r"\\caption\{(.*)\}\n", text)
    for part in ("perplexity; 95 \\% intervals over 5 documents, given this rounding", "float32", r"a\_b\%\textasciitilde{}\textasciicircum{}\#.jsonl, documents all, min\_tokens 16, max\_tokens 5000", "one window a document"):
        assert part in caption


def test_rows_stand_under_their_scheme_and_numbers_in_their_columns(results, run):
    lines = run("show", results, "--format", "latex").stdout.splitlines()
    body = lines[lines.index("    \\midrule") + 1:lines.index("    \\bottomrule")]
    assert body[0] == r"    \multicolumn{6}{l}{\textit{rope: none}} \\" and body[4] == r"    \multicolumn{6}{l}{\textit{rope: linear $\times$4}} \\"
    shown = {(row["labels"]["rope"], row["labels"]["quant"], row["labels"]["windows.length"]): row["texts"]["perplexity"]
             for row in json.loads(run("show", results, "--format", "json").stdout)}
    quant = re.findall(r"    (.*?) & [\d.]+ & ([\d.]+) & \{\\scriptsize\$(\[.*?\])\$\} & ([\d.]+) & \{\\scriptsize\$(\[.*?\])\$\} \\\\", "\n".join(body))
    assert len(quant) == 4 and quant[0][0] == "none" and quant[1][0] == r"W3 \textbackslash{}\$\_\{\textbar{}\}\textasciicircum{}\textasciitilde{}\&\textless{}\%\#"
    assert [" ".join(quant[0][1:3]), " ".join(quant[0][3:])] == [shown["none", "none", "64"], shown["none", "none", "256"]]


def test_a_figure_has_a_point_for_every_row_also_where_axes_differ(run, experiment, tmp_path):
    """Levels of two axes that are called the same, such as 3 bits of weights and of keys, are two lines."""
    bits = {"quant[0].weight.bits": [3, 4]}, {"kv.key.bits": [3, 4]}
    file = experiment({"quant": [{"match": "layers.*", "weight": {"type": "rtn", "group": 64}}], "sweep": [block | {"windows.length": [32, 64]} for block in bits],
                       "kv": {"type": "fake_quant", "key": {"type": "rtn", "bits": 8, "group": 0}}})
    assert run("run", file, "--results", tmp_path / "out").returncode == 0
    text = run("show", tmp_path / "out", "--format", "pgfplots").stdout
    values = {value for line in text.splitlines() if line[0].isdigit() for value in line.split()[1::3]}
    assert values == {str(row["metrics"]["perplexity"]["value"]) for row in read_rows(tmp_path / "out").values()}, text


@pytest.mark.parametrize("options", [[], ["--baseline", "quant=none"], ["--interaction", "rope,quant"]])
def test_a_figure_s_data_are_drawn_by_pgfplots(results, run, tmp_path, options):
    text = run("show", results, "--format", "pgfplots", *options).stdout
    (tmp_path / "data.txt").write_text(text, encoding="utf-8")
    names = re.findall(r"^# (L\d+): ", text, re.MULTILINE)
    assert len(names) == {"": 4, "--baseline": 2, "--interaction": 1}["".join(options[:1])]
    plots = "".join(f"\\addplot+[error bars/.cd, y dir=both, y explicit] table[x=x, y={name}, y error minus={name}_minus, y error plus={name}_plus]{{data.txt}};\n"
                    for name in names)
    compiled(tmp_path, "\\begin{tikzpicture}\\begin{axis}[xmode=log]\n" + plots + "\\end{axis}\\end{tikzpicture}\n",
             "\\usepackage{pgfplots}\\pgfplotsset{compat=newest}\n")
    header, *lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines] == ["64", "256"] and {len(line) for line in lines} == {len(header)}
    if not options:
        rows = json.loads(run("show", results, "--format", "json").stdout)
        first = next(row for row in rows if row["labels"]["rope"] == "none" and row["labels"]["quant"] == "none" and row["labels"]["windows.length"] == "64")
        value, minus, plus = map(float, lines[0][1:4])
        entry = first["metrics"]["perplexity"]
        assert [value, value - minus, value + plus] == pytest.approx([entry["value"], entry["low"], entry["high"]], rel=1e-12)
