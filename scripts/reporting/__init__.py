"""The report of a results folder: sections of notes, tables and figures (build.py), written as report.md (markdown.py) and report.html (page.py)."""
