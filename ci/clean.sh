#!/usr/bin/env bash
# clean.sh: removes what the build made. Go's own caches stay.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

rm -rf bin build
