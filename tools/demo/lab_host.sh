#!/bin/sh
# tools/demo/lab_host.sh - the lab machine's side of `./dev demo --lab`: SERVER TOKEN; enrols and runs an agent.
set -e
mkdir -m 700 /tmp/agent
printf 'import_dirs = ["/lab"]\nlibvirt = []\n' >/tmp/agent.toml
reeve-agent enroll --server "$1" --token "$2" --data /tmp/agent
exec reeve-agent run --data /tmp/agent --config /tmp/agent.toml
