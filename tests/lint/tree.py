# tests/lint/tree.py - what every check shares: the files of the tree and the way to complain.
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def files(*suffixes, under=""):
    """Paths (relative, as text) of the project's files: tracked, or new and not ignored."""
    out = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", under or "."],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = sorted(set(filter(None, out.split("\0"))))
    return [n for n in names if (not suffixes or n.endswith(suffixes)) and (ROOT / n).is_file()]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def strip_comments(text):
    """C++ or proto text with comments blanked; line numbers and strings stay."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"\((.*?)\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)

    def blank(match):
        token = match.group(0)
        return re.sub(r"[^\n]", " ", token) if token.startswith("/") else token

    return pattern.sub(blank, text)


class Report:
    """Collects complaints `file:line: text`; finish() ends the program with 1 when there are any."""

    def __init__(self):
        self.count = 0

    def add(self, name, line, text):
        self.count += 1
        print(f"{name}:{line}: {text}")

    def finish(self):
        sys.exit(1 if self.count else 0)
