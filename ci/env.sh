# shellcheck shell=bash
# env.sh is sourced by every script here: it goes to the top of the tree and makes the commands that follow use the Go
# that setup.sh found or brought, and nothing else.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# Go and apt need a home folder; a bare CI runner or chroot may not name one.
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"

# local: the toolchain is setup.sh's business, never a silent download in the middle of a build.
# CGO_ENABLED=0 everywhere, so that builds and tests share one cache and need no C compiler.
export HOME GOTOOLCHAIN=local GOFLAGS=-buildvcs=false CGO_ENABLED="${CGO_ENABLED:-0}"
export PATH="$PWD/build/goroot/bin:$PWD/build/tools:$PATH"
