# tools/dev.d/build.sh - configure, compile, test.

cmd_build() {
  cmd_setup
  build "${1:-dev}"
}

# build PRESET [target...]
build() {
  local preset=$1 dir=build/$1
  shift
  [ -e "$dir/build.ninja" ] || quietly "configuring $preset" cmake --preset "$preset"
  ninja -C "$dir" -j "$(parallel)" --quiet "$@"
}

# Guests are fetched before the tests start, not on some test's time.
prepare_guests() { tools/guest/prepare kernel initramfs agent disk bootable lab >/dev/null; }
# What the long tests of the lab need besides.
prepare_more_guests() { tools/guest/prepare kernel686 initramfs686 memtest debian >/dev/null; }

# run_tests PRESET [ctest arguments]
run_tests() {
  local preset=$1 repeat=()
  shift
  # Without a person to look: what fails is tried once more, and both attempts are printed.
  [ -z "${CI:-}" ] || repeat=(--repeat until-pass:2)
  ctest "${repeat[@]}" --test-dir "build/$preset" -j "$(parallel)" --output-on-failure --no-tests=error "$@" </dev/null
}

cmd_test() {
  cmd_setup
  build dev
  prepare_guests
  if [ $# -gt 0 ]; then
    run_tests dev -R "$1"
  else
    run_tests dev -LE lab-long # ./dev lab has them
  fi
}

# Outside the sanitizers: what boots machines under emulation (label lab), whose own time limits they would break.
cmd_sanitize() {
  local preset
  cmd_setup
  prepare_guests
  export REEVE_SIM_STRIDE=${REEVE_SIM_STRIDE:-4}
  for preset in ${1:-asan tsan}; do
    build "$preset"
    "sanitize_$preset"
  done
}

sanitize_asan() {
  ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
    LSAN_OPTIONS=suppressions=$root/tools/dev.d/lsan.supp:print_suppressions=0 run_tests asan -LE lab
}

# Without address randomization: g++ 12's runtime gives up on some of the layouts newer kernels choose.
sanitize_tsan() {
  TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 setarch -R \
    ctest --test-dir build/tsan -j "$(parallel)" --output-on-failure --no-tests=error -LE 'lab|system' </dev/null
}
