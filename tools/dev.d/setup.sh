# tools/dev.d/setup.sh - installs what is missing, and says nothing when nothing is.

cmd_setup() {
  command -v apt-get >/dev/null || fail "setup knows Debian 12 only; tools/packages.txt says what is needed"
  install_packages $(grep -v '^#' tools/packages.txt)
  install_npm_tools
}

missing_packages() {
  local present
  present=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
  printf '%s\n' "$@" | grep -vxF -f <(echo "$present") || true
}

install_packages() {
  local missing
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  apt-get -qq -s --no-install-recommends install $missing >/dev/null 2>&1 ||
    quietly "updating package lists" as_root apt-get -q update
  apt_install $missing || {
    quietly "updating package lists" as_root apt-get -q update
    apt_install $missing || fail "could not install: $(echo $missing)"
  }
}

# --no-install-recommends: a test machine needs no daemons started for it.
apt_install() {
  local log
  log=$(mktemp)
  note "installing $# packages: $*"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" \
    >"$log" 2>&1 </dev/null; then
    tail -20 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

readonly buf=tools/npm/node_modules/@bufbuild/buf-linux-$(uname -m | sed 's/x86_64/x64/')/bin/buf

# npm takes it for done when a program of another processor could not be fetched, but also when ours could not.
install_npm_tools() {
  local mark=tools/npm/node_modules/.installed
  [ ! -x "$buf" ] || ! cmp -s tools/npm/package-lock.json "$mark" || return 0
  command -v npm >/dev/null || install_packages nodejs npm
  quietly "installing npm tools" npm ci --prefix tools/npm --ignore-scripts --no-audit --no-fund --fetch-retries=1
  [ -x "$buf" ] || { note "npm could not fetch buf (npm ping says why): all works but ./dev lint"; return; }
  cp tools/npm/package-lock.json "$mark"
}
