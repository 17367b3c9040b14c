#!/usr/bin/env bash
# master2.sh: the second server. With two, etcd stops when either does; weir goes on.
set -euo pipefail
# shellcheck source=deploy/vagrant/k3s.sh
source /vagrant/k3s.sh
install_k3s server
