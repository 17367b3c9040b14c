#!/usr/bin/env bash
# build.sh: compiles weir, kube-weir, weirctl, weir-topo, and the gobgp command line of the module that weir embeds, into
# bin/. Go's cache makes it a matter of a second where nothing changed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
ci/setup.sh build

version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
mkdir -p bin
go build -ldflags "-X github.com/weir-lb/weir/cmd/internal/version.stamp=$version" -o bin/ ./cmd/... github.com/osrg/gobgp/v4/cmd/gobgp
