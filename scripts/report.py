#!/usr/bin/env -S sh -c 'p=${QROAR_VENV:-${0%/*}/../.venv}/bin/python; [ -x "$p" ] && exec "$p" "$0" "$@"; echo "no $p; run scripts/setup" >&2; exit 1'
"""Write a report of a results folder: report.html, one page with figures to point at and tables to sort, and report.md with the same as pictures.

usage: scripts/report.py RESULTS_DIR [--out DIR] [--all]

Takes the rows, differences and the explanation of their numbers from `qroar show`, and reads RESULTS_DIR/cells/*; writes report.html, report.md and
each figure as PNG, SVG and, for one and two columns of a paper, PDF (pdf/) into DIR (default: RESULTS_DIR) and prints report.md's path.  Equal rows
give equal bytes.  Uses the program that QROAR_BINARY names, else that of the submission that contains this copy, else the newest one in build/.
"""
import argparse
import sys
from pathlib import Path

from reporting.build import write_report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\nusage")[0])
    parser.add_argument("results", metavar="RESULTS_DIR", type=Path, help="folder that `qroar run` wrote")
    parser.add_argument("--out", metavar="DIR", type=Path, help="where to write (default: RESULTS_DIR)")
    parser.add_argument("--all", action="store_true", help="also the rows of cells that the plan no longer has, marked")
    arguments = parser.parse_args()
    try:
        print(write_report(arguments.results, ["--all"] if arguments.all else [], arguments.out or arguments.results))
    except OSError as error:
        sys.exit(f"report: {error.filename2 or error.filename or arguments.out}: {error.strerror or error}; name a folder that can be written with --out")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("report: interrupted; run it again", file=sys.stderr)
        sys.exit(130)
