#!/usr/bin/env bash
# fmt.sh: formats the Go and C that people write. Generated files keep the form their generator gives them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/lib/files.sh
source ci/lib/files.sh
ci/setup.sh lint

written_files '*.go' | xargs -r gofmt -s -w
written_files '*.c' '*.h' | xargs -r clang-format-19 -i
