#!/usr/bin/env bash
# help.sh: lists the Makefile's targets with the words that stand behind each.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

echo "make TARGET, where TARGET is one of"
awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $1, $2 }' Makefile
