# tools/dev.d/run.sh - demo, benchmarks, lab, long fuzzing.

cmd_demo() {
  cmd_setup
  build dev
  export BIN=$root/build/dev/bin
  [ "${1:-}" != --lab ] || { shift; exec tools/demo/lab "$@"; }
  exec tools/demo/demo "$@"
}

# Programs *_bench of the release build and scripts bench/*.sh, which find the programs through BIN.
cmd_bench() {
  local name=${1:-} program found=''
  cmd_setup
  build release
  prepare_guests
  export BIN=$root/build/release/bin
  for program in "$BIN"/*_bench bench/*.sh; do
    [[ $program != */core_lab_bench ]] || continue # core_lab.sh runs it
    [ -x "$program" ] && [[ $(basename "$program") == *"$name"* ]] || continue
    found=yes
    echo "== $(basename "$program" .sh)"
    "$program"
  done
  [ -n "$found" ] || fail "no benchmark called '$name'"
}

cmd_lab() {
  cmd_setup
  if [ "${1:-}" = shell ]; then
    shift
    exec tools/lab/run --qemu --guest --shell "$@"
  fi
  build dev
  prepare_guests
  prepare_more_guests
  run_tests dev -L lab ${1:+-R "$1"}
}

# Seeds come from the tree (fuzz/corpus/TARGET beside the target's source); finds go to build/fuzz/found/TARGET.
cmd_fuzz() {
  local target='' minutes=10 seeds
  while [ $# -gt 0 ]; do
    case $1 in
      --minutes) minutes=${2:?}; shift 2 ;;
      *) target=fuzz_${1#fuzz_}; shift ;;
    esac
  done
  cmd_setup
  [ -e build/fuzz/build.ninja ] || quietly "configuring fuzz" cmake --preset fuzz
  [ -n "$target" ] || { ninja -C build/fuzz -t targets all | sed -n 's,^bin/\(fuzz_[a-z0-9_]*\): .*,\1,p'; return; }
  build fuzz "$target"
  mkdir -p "build/fuzz/found/$target"
  mapfile -t seeds < <(find . -path ./build -prune -o -path "*/corpus/$target" -type d -print)
  "build/fuzz/bin/$target" "build/fuzz/found/$target" "${seeds[@]}" -max_total_time=$((minutes * 60)) \
    -artifact_prefix="build/fuzz/found/" -print_final_stats=1 -rss_limit_mb=4096
}
