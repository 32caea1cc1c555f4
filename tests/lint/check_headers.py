#!/usr/bin/env python3
# tests/lint/check_headers.py - the first line says path and purpose; headers are guarded; no unfinished words.
import re

import tree

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
COMMENT = {".h": "// ", ".proto": "// ", ".sh": "# ", ".py": "# "}
TEXT = (".h", ".cpp", ".proto", ".sh", ".py", ".ts", ".tsx", ".md", ".txt", ".cmake", ".sql", ".js")


def check_first_line(name, lines, report):
    suffix = "." + name.rsplit(".", 1)[-1]
    if suffix not in COMMENT:
        return
    first = 1 if lines and lines[0].startswith("#!") else 0
    line = lines[first] if len(lines) > first else ""
    if not line.startswith(f"{COMMENT[suffix]}{name} - "):
        report.add(name, first + 1, f"begin with `{COMMENT[suffix]}{name} - one sentence.`")


def main():
    report = tree.Report()
    for name in tree.files(*TEXT):
        lines = tree.read(name).splitlines()
        if not name.startswith("web/"):
            check_first_line(name, lines, report)
        if name.endswith(".h") and "#pragma once" not in lines:
            report.add(name, 1, "no #pragma once")
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                report.add(name, number, "an unfinished word: finish it or write an issue")
    report.finish()


main()
