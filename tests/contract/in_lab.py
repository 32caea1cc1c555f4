#!/usr/bin/env python3
# tests/contract/in_lab.py - a suite of tests in the KVM lab: one run of the machine, an answer for each case.
#
#   in_lab.py PROGRAM              runs all cases there; fails unless every one of them came to an end
#   in_lab.py PROGRAM CASE         fails unless that run says that the case passed
#   in_lab.py PROGRAM --list-...   asks the program, here
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def ended_cases(path):
    """Name to what the XML reporter said of it; without those that a run cut short did not finish."""
    cases = {}
    parser = ElementTree.XMLPullParser(["end"])
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            parser.feed(file.read())
        for _, element in parser.read_events():
            if element.tag == "TestCase":
                cases[element.get("name")] = element
    except (ElementTree.ParseError, FileNotFoundError):
        pass
    return cases


def passed(case):
    return case.find("OverallResult").get("success") == "true"


def run_all(program, results):
    listed = subprocess.run([program, "--list-test-names-only"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    name = os.path.basename(program)
    argv = [os.path.join(TOP, "tools/lab/run"), "--guest", "--net", "--timeout", "480", "--add", "/usr/bin/passt"]
    argv += ["--add", program, "--add", os.path.join(os.path.dirname(program), "reeve-vmm")]
    # Standard output is the report and nothing else.
    argv += ["--", "sh", "-c", name + " --reporter xml --durations yes 2>/dev/console"]
    with open(results, "wb") as file:
        code = subprocess.run(argv, stdout=file).returncode
    cases = ended_cases(results)
    for case in listed:
        if case not in cases:
            print("NO RESULT        ", case)
            continue
        seconds = float(cases[case].find("OverallResult").get("durationInSeconds"))
        print("passed" if passed(cases[case]) else "FAILED", f"{seconds:8.1f} s", case)
    print(f"{len(cases)} of {len(listed)} cases came to an end, the lab with code {code}")
    return 0 if listed and all(case in cases for case in listed) else 1


def answer(results, case):
    element = ended_cases(results).get(case)
    if element is None:
        print("the run in the lab did not come to the end of this case")
        return 1
    ElementTree.indent(element)
    print(ElementTree.tostring(element, encoding="unicode"))
    return 0 if passed(element) else 1


def main():
    program, arguments = os.path.abspath(sys.argv[1]), sys.argv[2:]
    results = program + ".results"
    if not arguments:
        return run_all(program, results)
    if arguments[0].startswith("--"):
        return subprocess.run([program] + arguments).returncode
    return answer(results, re.sub(r"\\([\[\],\\])", r"\1", arguments[0]))


sys.exit(main())
