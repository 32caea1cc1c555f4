#!/usr/bin/env python3
# tests/lint/lint_test.py - each check passes a good tree and finds what is wrong in a bad one.
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
GUIDE = "| `NOT_THERE` | NotFound | gone | look |\n"
GOOD_H = "// base/a.h - a thing.\n#pragma once\n\n#include <string>\n"
GOOD_PROTO = """// proto/reeve/v1/a_service.proto - verbs.
service A {
  // An rpc Ignored( in a comment is none.
  rpc Get(Request) returns (Reply) {
    option (authorization) = {permission: PERMISSION_VIEW};
  }
}
"""


class LintTest(unittest.TestCase):
    """Each case writes some files into an empty repository with the checks in it, and runs one check."""

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="reeve-lint-"))
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copytree(HERE, self.root / "tests/lint", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)

    def check(self, name, **files):
        for path, text in files.pop("tree", {}).items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        done = subprocess.run([sys.executable, str(self.root / f"tests/lint/check_{name}.py")],
                              capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def test_headers(self):
        self.assertEqual(self.check("headers", tree={"base/a.h": GOOD_H}), "")
        bad = self.check("headers", tree={"base/b.h": "// base/a.h - copied.\n", "base/c.sh": "#!/bin/sh\n# FIX" "ME\n"})
        for text in ("base/b.h:1: begin", "base/b.h:1: no #pragma", "base/c.sh:2: begin", "base/c.sh:2: an unfinished"):
            self.assertIn(text, bad)

    def test_layers(self):
        good = {"db/repo/a.cpp": '#include "db/sqlite/x.h"\n', "agent/driver/sim/a.cpp": '#include "agent/driver/d.h"\n',
                "base/t.cpp": '// #include "db/x.h"\n#include <sys/types.h>\n#include <vector>\n',
                "cli/a.cpp": '#include "reeve/v1/vm_service.grpc.pb.h"\n'}
        self.assertEqual(self.check("layers", tree=good), "")
        bad = self.check("layers", tree={
            "base/a.cpp": '#include "db/x.h"\n', "db/model/a.cpp": "#include <sqlite3.h>\n",
            "server/app/a.cpp": '#include "reeve/v1/vm.pb.h"\n#include "reeve/v1/vm_service.grpc.pb.h"\n',
            "hypervisor_core/cpu/a.cpp": "#include <linux/kvm.h>\n", "base/b.cpp": "#include <weird/lib.h>\n",
            "agent/driver/sim/b.cpp": '#include "agent/driver/libvirt/x.h"\n', "stray/a.cpp": "\n"})
        self.assertEqual(len(bad.splitlines()), 7, bad)
        self.assertNotIn("vm.pb.h", bad)

    def test_sizes(self):
        body = "int f() {\n" + "  g();\n" * 70 + "}\n"
        self.assertEqual(self.check("sizes", tree={"base/a.cpp": body, "tests/base/a.cpp": "\n" * 700}), "")
        cases = "int f(int i) {\n  switch (i) {\n" + "    case 1: return 1;\n" * 90 + "  }\n}\n"
        self.assertEqual(self.check("sizes", tree={"base/a.cpp": cases}), "")
        bad = self.check("sizes", tree={"base/a.cpp": body.replace("  g();\n", "  g();\n" * 2), "base/b.h": "\n" * 601})
        self.assertIn("base/a.cpp:1: function of 142", bad)
        self.assertIn("base/b.h:600: 601 lines", bad)

    def test_proto(self):
        self.assertEqual(self.check("proto", tree={"proto/reeve/v1/a_service.proto": GOOD_PROTO}), "")
        bad = self.check("proto", tree={"proto/reeve/v1/b_service.proto":
                                        "service B {\n  rpc One(R) returns (R);\n  rpc Two(R) returns (R) {}\n}\n"})
        self.assertEqual(len(bad.splitlines()), 2, bad)

    def test_readme(self):
        self.assertEqual(self.check("readme", tree={"base/a.h": "", "base/README.md": "x\n", "tests/base/a.cpp": "",
                                                      "tests/README.md": "x\n"}), "")
        bad = self.check("readme", tree={"base/README.md": "x\n" * 16, "db/a.h": "", "tools/a": ""})
        self.assertIn("tools:1: has no README.md", bad)
        self.assertIn("base/README.md:15: 16 lines", bad)
        self.assertIn("db:1: has no README.md", bad)

    def test_errors(self):
        use = 'return Error{Code::NotFound, "NOT_THERE", "x"};\n'
        self.assertEqual(self.check("errors", tree={"docs/guide/errors.md": GUIDE, "base/a.cpp": use}), "")
        bad = self.check("errors", tree={"base/b.cpp": use.replace("THERE", "HERE"),
                                         "base/a.cpp": 'action.set_reason("NOR_HERE");\n'})
        self.assertIn("NOT_HERE is not explained", bad)
        self.assertIn("NOR_HERE is not explained", bad)
        self.assertIn("NOT_THERE is not used any more", bad)

    def test_handlers(self):
        head = "grpc::ServerUnaryReactor* AHandler::Get(grpc::CallbackServerContext* context, const R* request) {\n"
        self.assertEqual(self.check("handlers", tree={"server/api/a_handler.cpp": head + "  return door_.enter(context);\n}\n"}), "")
        out = self.check("handlers", tree={"server/api/a_handler.cpp": head + "  log();\n  return door_.enter(context);\n}\n"})
        self.assertIn("Get does not begin", out)


if __name__ == "__main__":
    unittest.main()
