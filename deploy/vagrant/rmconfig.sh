#!/usr/bin/env bash
# rmconfig.sh: removes the machines, and the BIRD of config.sh with its routes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [[ -e bird.ctl ]]; then
	sudo birdc -s "$PWD/bird.ctl" down >/dev/null || true
fi
sudo rm -f bird.ctl bird.pid
vagrant destroy --force
