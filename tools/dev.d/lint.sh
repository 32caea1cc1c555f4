# tools/dev.d/lint.sh - checks of the source, and formatting.

sources() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done; }

cmd_fmt() {
  cmd_setup
  sources '*.cpp' '*.h' | xargs -r -n 20 -P "$(nproc)" clang-format-14 -i
}

# Every check runs; the exit code is that of the worst.
cmd_lint() {
  local check failed=0
  cmd_setup
  for check in tests/lint/check_*.py; do "$check" || failed=1; done
  for check in format proto tidy; do "lint_$check" || { note "lint: $check failed"; failed=1; }; done
  [ "$failed" = 0 ] && note "lint: all checks passed"
  return "$failed"
}

lint_format() { sources '*.cpp' '*.h' | xargs -r -n 20 -P "$(nproc)" clang-format-14 --dry-run --Werror; }

# What this branch changed is measured against: the published main, the local one, or the commit before.
base_commit() {
  local ref
  for ref in origin/main main HEAD~1; do
    git rev-parse -q --verify "$ref" >/dev/null || continue
    [ "$(git rev-parse "$ref")" != "$(git rev-parse HEAD)" ] || continue
    git merge-base "$ref" HEAD && return
  done
}

lint_proto() {
  local base old status=0
  [ -x "$buf" ] || { note "buf is missing: npm could not fetch it"; return 1; }
  "$buf" lint || return 1
  base=$(base_commit)
  [ -n "$base" ] && git cat-file -e "$base:buf.yaml" 2>/dev/null && git cat-file -e "$base:proto" 2>/dev/null || return 0
  old=$(mktemp -d)
  git archive "$base" proto buf.yaml | tar -x -C "$old"
  "$buf" breaking --against "$old" || status=1
  rm -rf "$old"
  return "$status"
}

# clang-tidy takes seconds per file: only what changed, and only where the build knows how to compile it.
lint_tidy() {
  local base
  base=$(base_commit)
  [ -n "$base" ] && [ -e build/dev/compile_commands.json ] || return 0
  # clang knows neither g++'s precompiled headers nor its memory settings. Fuzz targets have the names libFuzzer wants.
  mkdir -p build/dev/tidy
  sed 's/-Winvalid-pch -include [^ ]*cmake_pch.hxx//; s/--param=ggc[^ ]*//g' build/dev/compile_commands.json >build/dev/tidy/compile_commands.json
  git diff --name-only --diff-filter=AM "$base" -- '*.cpp' | sed '/^tests\//d; /\/fuzz\//d' | head -20 |
    while read -r f; do ! grep -q "/$f\"" build/dev/compile_commands.json || echo "$f"; done |
    xargs -r -n 1 -P "$(nproc)" clang-tidy-14 -p build/dev/tidy --quiet --extra-arg=-Wno-unknown-warning-option
}
