#!/usr/bin/env python3
# tests/lint/check_proto.py - every public method declares its permission and whether it changes anything.
import re

import tree

RPC = re.compile(r"\brpc\s+(\w+)\s*\(")


def body_of(text, start):
    """What follows an rpc's signature: `{...}` or `;`."""
    depth = 0
    for index in range(text.index("returns", start), len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
        if depth == 0 and text[index] in ";}":
            return text[start:index + 1]
    return text[start:]


def main():
    report = tree.Report()
    for name in tree.files(".proto", under="proto/reeve/v1"):
        text = tree.strip_comments(tree.read(name))
        for match in RPC.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            body = body_of(text, match.start())
            if "(authorization)" not in body or "permission:" not in body:
                report.add(name, line, f"{match.group(1)} has no (authorization) with a permission")
            elif "PERMISSION_UNSPECIFIED" in body:
                report.add(name, line, f"{match.group(1)} has an unspecified permission")
    report.finish()


main()
