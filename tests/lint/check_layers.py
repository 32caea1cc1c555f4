#!/usr/bin/env python3
# tests/lint/check_layers.py - every #include is an edge that layers.txt allows.
import re

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SYSTEM = ("sys/", "linux/", "net/", "netinet/", "arpa/", "asm/", "scsi/")


def load():
    """(modules: name -> (set of modules, set of parties), parties: name -> header prefixes)"""
    modules, parties = {}, {}
    for line in tree.read("tests/lint/layers.txt").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("%"):
            name, *prefixes = line[1:].split()
            parties[name] = prefixes
        elif line:
            name, rest = line.split(":", 1)
            allowed, _, third = rest.partition("|")
            modules[name] = (set(allowed.split()), set(third.split()))
    return modules, parties


def below(path, folder):
    return path == folder or path.startswith(folder + "/")


def module_of(path, modules):
    return max((m for m in modules if below(path, m)), key=len, default=None)


def allowed_edge(own, target, allowed):
    """May module `own` include the header `target`?"""
    folder = target.rsplit("/", 1)[0]
    if below(target, own):
        return True
    return any(folder == a[1:] if a.startswith("=") else below(target, a) for a in allowed)


def party_of(header, parties):
    for name, prefixes in parties.items():
        if any(header == p or header.startswith(p + "/") or (p == "linux/virtio" and header.startswith(p))
               for p in prefixes):
            return name
    if "/" in header and not header.startswith(SYSTEM):
        return "not listed in layers.txt"
    return None


def check(name, modules, parties, report):
    own = module_of(name, modules)
    if own is None:
        report.add(name, 1, "belongs to no module of tests/lint/layers.txt")
        return
    allowed, third = modules[own]
    for number, line in enumerate(tree.strip_comments(tree.read(name)).splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, angled = match.groups()
        party = "grpc" if quoted and quoted.endswith(".grpc.pb.h") else party_of(angled, parties) if angled else None
        if party and party not in third:
            report.add(name, number, f"{own} may not include {quoted or angled} ({party})")
        elif quoted and not allowed_edge(own, quoted, allowed):
            report.add(name, number, f"{own} may not include {quoted}")


def main():
    report = tree.Report()
    modules, parties = load()
    for name in tree.files(".h", ".cpp"):
        if not name.startswith(("tests/", "tools/")):
            check(name, modules, parties, report)
    report.finish()


main()
