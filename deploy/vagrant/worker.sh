#!/usr/bin/env bash
# worker.sh: an agent of K3s.
set -euo pipefail
# shellcheck source=deploy/vagrant/k3s.sh
source /vagrant/k3s.sh
install_k3s agent
