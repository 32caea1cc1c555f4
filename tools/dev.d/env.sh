# tools/dev.d/env.sh - the environment every command runs in, and how it speaks.

# What a shell may have set for other projects.
unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CPATH LIBRARY_PATH LD_LIBRARY_PATH CMAKE_GENERATOR CTEST_PARALLEL_LEVEL
export LC_ALL=C.UTF-8
[ -n "${HOME:-}" ] || export HOME=/root
cache=${REEVE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/reeve}

export CCACHE_DIR=${CCACHE_DIR:-$cache/ccache} CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=1
# Believes the compiler's own list of headers: to ask the preprocessor again costs half a second a file.
export CCACHE_DEPEND=1
# Precompiled headers are only cached when their time stamps are believed.
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime

fail() { echo "dev: $*" >&2; exit 1; }
note() { echo "dev: $*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "needs root for: $* (run as root or install sudo)"
  fi
}

# quietly WHAT COMMAND...: the command's output only if it fails.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  note "$what"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    fail "$what: failed"
  fi
  rm -f "$log"
}

# As many compilers as processors, but 1.5 GB of memory for each.
parallel() {
  local cpus memory
  cpus=$(nproc)
  memory=$(awk '/MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo)
  echo $((memory < 1 ? 1 : memory < cpus ? memory : cpus))
}
