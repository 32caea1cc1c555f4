#!/usr/bin/env python3
# tests/lint/check_handlers.py - every method of a handler in server/api goes through the front door, first thing.
import re

import tree

METHOD = re.compile(
    r"^[\w:<>, ]+\*\s*\w+Handler::(?P<name>[A-Z]\w*)\(\s*grpc::CallbackServerContext\*[^{;]*\)\s*\{\s*(?P<body>[^\n]*)",
    re.M)


def main():
    report = tree.Report()
    for name in tree.files("_handler.cpp", under="server/api"):
        text = tree.strip_comments(tree.read(name))
        for match in METHOD.finditer(text):
            if not match["body"].startswith("return door_.enter"):
                line = text.count("\n", 0, match.start()) + 1
                report.add(name, line, f"{match['name']} does not begin with `return door_.enter`")
    report.finish()


main()
