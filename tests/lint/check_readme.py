#!/usr/bin/env python3
# tests/lint/check_readme.py - every folder with code says in at most 15 lines what it is and what it may include.
import tree

LIMIT = 15
EXEMPT = (".ci", "cmake", "docs", "web/")  # web/README.md speaks for its folders
CODE = (".h", ".cpp", ".proto", ".sh", ".py", ".sql", ".ts", ".tsx")


def folders():
    """Folders that hold code; a mirror of the tree in tests/ is described by the tree itself."""
    for name in tree.files(*CODE):
        folder = name.rpartition("/")[0]
        if folder and not folder.startswith(EXEMPT):
            yield folder


def needs_own(folder):
    if folder.startswith("proto/"):
        return False
    parts = folder.split("/")
    mirrored = parts[0] == "tests" and (tree.ROOT / "/".join(parts[1:])).is_dir()
    return not mirrored


PARENTS = ("docs", "docs/guide", "docs/adr", "tests", "tools")  # hold folders or pages rather than code


def main():
    report = tree.Report()
    for folder in PARENTS:
        path = tree.ROOT / folder
        if path.is_dir() and not (path / "README.md").is_file():
            report.add(folder, 1, "has no README.md")
    for folder in sorted(set(folders())):
        readme = tree.ROOT / folder / "README.md"
        if not readme.is_file():
            if needs_own(folder):
                report.add(folder, 1, "has no README.md")
            continue
        length = len(readme.read_text().splitlines())
        if length > LIMIT:
            report.add(f"{folder}/README.md", LIMIT, f"{length} lines; the limit is {LIMIT}")
    report.finish()


main()
