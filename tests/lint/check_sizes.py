#!/usr/bin/env python3
# tests/lint/check_sizes.py - files stay under 600 lines (tests 800), functions under 80 (a switch of one-liners aside).
import re

import tree

FILE_LIMIT, TEST_FILE_LIMIT, FUNCTION_LIMIT = 600, 800, 80
SOURCE = (".h", ".cpp", ".proto", ".py", ".sh", ".ts", ".tsx")
# clang-format has every definition begin and end in column 0; its head may go over several lines.
HEAD_ENDS = re.compile(r"\).*\{$")
NOT_A_FUNCTION = ("namespace", "extern", "TEST_CASE", "class", "struct", "enum", "union", "#", "//", "}")


def functions(lines):
    """(first line, length) of each function; for those that fit on one line there is nothing to measure."""
    head = start = None
    for number, line in enumerate(lines, 1):
        if start is not None:
            if line.startswith("}"):
                yield start, number - start + 1
                head = start = None
            continue
        if line and not line[0].isspace():
            head = None if line.startswith(NOT_A_FUNCTION) else number
        if head is not None and HEAD_ENDS.search(line):
            start = head
        elif not line or line.endswith((";", "{", "}")):
            head = None


def one_line_cases(lines):
    return sum(1 for line in lines if re.match(r"\s*(case .*:|default:)", line))


def main():
    report = tree.Report()
    for name in tree.files(*SOURCE):
        lines = tree.read(name).splitlines()
        limit = TEST_FILE_LIMIT if name.startswith("tests/") else FILE_LIMIT
        if len(lines) > limit:
            report.add(name, limit, f"{len(lines)} lines; the limit is {limit}")
        if not name.endswith((".h", ".cpp")) or name.startswith("tests/"):
            continue
        for start, length in functions(lines):
            if length - one_line_cases(lines[start - 1:start - 1 + length]) > FUNCTION_LIMIT:
                report.add(name, start, f"function of {length} lines; the limit is {FUNCTION_LIMIT}")
    report.finish()


main()
