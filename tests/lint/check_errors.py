#!/usr/bin/env python3
# tests/lint/check_errors.py - every reason an error can carry is explained in docs/guide/errors.md, and none else.
import re

import tree

GUIDE = "docs/guide/errors.md"
REASON = re.compile(r'\bCode::\w+,\s*"([A-Z][A-Z0-9_]+)"|\b(?:Reason|reason)[({]\s*"([A-Z][A-Z0-9_]+)"'
                    r'|\b(?:refuse\(id,|set_reason\()\s*"([A-Z][A-Z0-9_]+)"')
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \|", re.M)


def used():
    """reason -> (file, line) of its first use"""
    found = {}
    for name in tree.files(".h", ".cpp"):
        if name.startswith(("tests/", "bench/")):
            continue
        text = tree.strip_comments(tree.read(name))
        for match in REASON.finditer(text):
            reason = next(filter(None, match.groups()))
            found.setdefault(reason, (name, text.count("\n", 0, match.start()) + 1))
    return found


def main():
    report = tree.Report()
    reasons = used()
    listed = ROW.findall(tree.read(GUIDE)) if (tree.ROOT / GUIDE).is_file() else []
    for reason in sorted(set(reasons) - set(listed)):
        report.add(*reasons[reason], f"{reason} is not explained in {GUIDE}")
    for reason in sorted(set(listed) - set(reasons)):
        report.add(GUIDE, 1, f"{reason} is not used any more")
    for reason in sorted({r for r in listed if listed.count(r) > 1}):
        report.add(GUIDE, 1, f"{reason} is listed twice")
    report.finish()


main()
