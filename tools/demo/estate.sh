# tools/demo/estate.sh - a server, an agent and a private libvirtd on loopback in a scratch folder; sourced.
#
# Sets dir, bin, cache, uri, api and the login; ends everything when the shell does. BIN is where the programs are.

readonly top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
readonly bin=${BIN:-$top/build/dev/bin}
readonly cache=${REEVE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/reeve}
readonly dir=$(mktemp -d "${TMPDIR:-/tmp}/reeve-estate.XXXX")
export REEVE_CONFIG=$dir/contexts.toml
pids=() groups=()  # groups: process groups of our own making
step="starting"

say() { printf '\n\033[1m==> %s\033[0m\n' "$*" >&2; step=$*; }
reeve() { "$bin/reeve" "$@"; }

clean_up() {
  local code=$?
  trap - EXIT INT TERM
  [ $code -eq 0 ] || { echo "failed while $step" >&2; tail -n 5 "$dir"/{server,agent}.log >&2 2>/dev/null || true; }
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  for group in "${groups[@]}"; do kill -- "-$group" 2>/dev/null || true; done
  for group in "${groups[@]}"; do wait "$group" 2>/dev/null || true; done
  "$top/tools/testbed/libvirtd.sh" stop "$dir/l" >/dev/null 2>&1 || true
  rm -rf "$dir"
  exit $code
}
trap clean_up EXIT
trap 'exit 0' INT TERM

# holds WHAT COMMAND...: the command succeeds within $patience (30) seconds, or the script fails naming WHAT.
holds() {
  local what=$1
  shift
  for _ in $(seq $((${patience:-30} * 5))); do
    if "$@" >/dev/null 2>&1; then echo "    proved: $what" >&2; return; fi
    sleep 0.2
  done
  echo "NOT TRUE: $what" >&2
  return 1
}
# start_server [ADDRESS]: ADDRESS is where hosts find it.
start_server() {
  mkdir -m 700 "$dir/server"
  "$bin/reeve-server" run --data "$dir/server" --api 127.0.0.1:0 --link 127.0.0.1:0 ${1:+--advertise "$1"} \
    2>"$dir/server.log" >&2 &
  pids+=($!)
  holds "the server answers" test -s "$dir/server/ports.json"
  api=127.0.0.1:$(sed -n 's/.*"api": *\([0-9]*\).*/\1/p' "$dir/server/ports.json")
  reeve login "$api" --token-file "$dir/server/admin.token" --yes
}

start_estate() {
  say "starting a private libvirtd, the server and an agent on loopback"
  uri=$("$top/tools/testbed/libvirtd.sh" start "$dir/l" --owner $$)
  mkdir -m 700 "$dir/agent"
  start_server
}

enrol_host() {
  say "enrolling this machine as a host: the line an administrator pastes"
  local token
  token=$(reeve -o json host enroll-token --name demo-host | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
  "$bin/reeve-agent" enroll --server "$api" --token "$token" --data "$dir/agent" 2>>"$dir/agent.log"
  "$bin/reeve-agent" run --data "$dir/agent" --libvirt "$uri" 2>>"$dir/agent.log" >&2 &
  pids+=($!)
  holds "the host is connected" sh -c "'$bin/reeve' host list | grep -q CONNECTED"
}
