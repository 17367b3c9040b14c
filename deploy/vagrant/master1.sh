#!/usr/bin/env bash
# master1.sh: the first server of K3s.
set -euo pipefail
# shellcheck source=deploy/vagrant/k3s.sh
source /vagrant/k3s.sh
install_k3s first
