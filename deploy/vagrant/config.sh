#!/usr/bin/env bash
# config.sh: brings the machines up, installs the article's manifests, and starts a BIRD of its own here as the client. It
# needs Vagrant, VirtualBox and BIRD 2, asks sudo for BIRD, which sets routes, and takes some ten minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for program in vagrant bird; do
	command -v "$program" >/dev/null || { echo "config: no $program here: install it first" >&2 && exit 1; }
done
vagrant up

on_master() { vagrant ssh master1 -c "$1"; }
# Where images were imported no registry is asked for them.
pull=Always
if [[ -d ../../build/images/amd64 ]]; then pull=IfNotPresent; fi
for file in kube-weir weir weir-peer nginx udp sctp; do
	on_master "sed 's/imagePullPolicy: Always/imagePullPolicy: $pull/' /deploy/article/$file.yml | sudo kubectl apply -f -"
done
on_master 'sudo kubectl -n kube-system rollout status daemonset/loxilb-lb --timeout=5m'
on_master 'sudo kubectl -n kube-system rollout status daemonset/loxilb-peer --timeout=5m'
on_master 'sudo kubectl wait --for=condition=Ready pod/nginx-test pod/udp-test pod/sctp-test --timeout=5m'

sudo bird -c "$PWD/bird.conf" -s "$PWD/bird.ctl" -P "$PWD/bird.pid"
echo 'config: it stands; ./validation.sh asks it, ./rmconfig.sh removes it'
