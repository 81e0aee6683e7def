"""Makes coverage.csv, the population of tests/unit/coverage_test.cpp: losses of documents of very unequal length.

    scripts/fetch_data gao crs
    python tests/data/coverage.py texts
    build/ci/qroar run tests/data/coverage.yaml --results /tmp/coverage
    python tests/data/coverage.py table /tmp/coverage

The texts are the first tenths of 92 government reports, at most 8,000 characters each.  A line of the table is a window: the number of its
document, its scored tokens, their summed NLL in full precision under YaRN, and what W3 in groups of 64 adds to it in each rounding draw.
"""
import csv
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MOST = 8000


def write_texts():
    with open(HERE / "coverage-texts.jsonl", "w", encoding="utf-8") as out:
        for name in ("gao", "crs"):
            with open(HERE.parents[1] / f"data/public/gov/{name}.jsonl", encoding="utf-8", newline="\n") as lines:
                for row in map(json.loads, lines):
                    text = row["text"][:min(len(row["text"]) // 10, MOST)]
                    out.write(json.dumps({"id": row["id"], "text": text}, ensure_ascii=False) + "\n")


def windows_by_draw(results):
    """Returns {None for full precision, or the draw: [(document, start, tokens, nll_sum)]}."""
    found = {}
    for row_file in Path(results).glob("cells/*/row.json"):
        axes = json.loads(row_file.read_text(encoding="utf-8"))["axes"]
        with open(row_file.with_name("windows.csv"), encoding="utf-8", newline="") as file:
            found[axes.get("rounding.draw", 0) if axes.get("quant", True) else None] = [
                (line["document"], int(line["start"]), int(line["tokens"]), float(line["nll_sum"])) for line in csv.DictReader(file)]
    return found


def write_table(results):
    found = windows_by_draw(results)
    full = found.pop(None)
    draws = sorted(found)
    documents = {}
    with open(HERE / "coverage.csv", "w", encoding="utf-8") as out:
        out.write(",".join(["document", "tokens", "nll", *(f"draw_{draw}" for draw in draws)]) + "\n")
        for place, (document, start, tokens, nll) in enumerate(full):
            lines = [found[draw][place] for draw in draws]
            assert all(line[:3] == (document, start, tokens) for line in lines)
            number = documents.setdefault(document, len(documents))
            out.write(",".join([str(number), str(tokens), f"{nll:.2f}", *(f"{line[3] - nll:.2f}" for line in lines)]) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["texts"]:
        write_texts()
    elif len(sys.argv) == 3 and sys.argv[1] == "table":
        write_table(sys.argv[2])
    else:
        sys.exit(__doc__)
