# shellcheck shell=bash
# go.sh: a Go that is new enough for go.mod, as build/goroot.

# What is brought where the machine's Go is too old. Go's own checksum database verifies it.
readonly go_brought=1.26.8

# provide_go makes build/goroot a link to a GOROOT of at least go.mod's version: the one linked before, one of the
# machine's, or one that an older Go (Debian 12 has 1.19) brings as the module golang.org/toolchain.
provide_go() {
	local root
	go_is_at_least "$(go_wanted)" build/goroot && return
	if root=$(go_of_machine); then
		link_go "$root"
	else
		bring_go
	fi
}

# go_package names the Debian package that provide_go will need, if any.
go_package() {
	go_is_at_least "$(go_wanted)" build/goroot || go_of_machine >/dev/null || command -v go >/dev/null || echo golang-go
}

# go_wanted prints the version that go.mod asks for.
go_wanted() { awk '$1 == "go" { print $2; exit }' go.mod; }

# go_of_machine prints the first GOROOT of this machine that is new enough.
go_of_machine() {
	local root
	for root in $(go_roots); do
		if go_is_at_least "$(go_wanted)" "$root"; then
			echo "$root"
			return
		fi
	done
	return 1
}

# go_roots prints the GOROOTs of this machine, the one in PATH first.
go_roots() {
	local tool
	for tool in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
		[[ -x $tool ]] && (cd / && "$tool" env GOROOT)
	done
}

# go_is_at_least VERSION GOROOT: whether GOROOT holds a Go of this version or newer.
go_is_at_least() {
	local have
	[[ -x $2/bin/go && -r $2/VERSION ]] || return 1
	have=$(awk 'NR == 1 { sub(/^go/, ""); print $1 }' "$2/VERSION")
	newest_of "$1" "$have"
}

# newest_of A B: whether B is A or newer.
newest_of() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -1) == "$2" ]]; }

link_go() {
	mkdir -p build
	ln -sfn "$1" build/goroot
	say "using $(awk 'NR == 1' "$1/VERSION") of $1"
}

# bring_go lets the machine's older Go fetch the toolchain as a module.
bring_go() {
	local old root
	newest_of "$(go_wanted)" "$go_brought" || die "go.mod wants Go $(go_wanted): raise go_brought in ci/lib/go.sh"
	old=$(command -v go) || die "no go command, though golang-go was installed: look at PATH"
	say "bringing Go $go_brought with the machine's $(cd / && "$old" env GOVERSION), checksum verified"
	root=$(fetch_toolchain "$old") || die "Go $go_brought could not be fetched (the words above say why); run this again"
	# The module cache keeps no execute bits.
	chmod -R +x "$root/bin" "$root/pkg/tool"
	link_go "$root"
}

# fetch_toolchain GO: prints the folder of the module that holds the toolchain, downloaded if need be. It runs outside our
# module, whose go.mod an old Go cannot read, and with the checks on that a user's settings might have turned off.
fetch_toolchain() (
	arch=$(dpkg --print-architecture)
	case $arch in amd64 | arm64) ;; *) die "no Go for the architecture $arch is known here" ;; esac
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	cd "$scratch" || exit
	export GONOSUMDB='' GONOSUMCHECK='' GOPRIVATE='' GOINSECURE='' GOFLAGS=''
	[[ $("$1" env GOSUMDB) != off ]] || die "GOSUMDB is off: unset it, the toolchain's checksum must be verified"
	if ! "$1" mod download -json "golang.org/toolchain@v0.0.1-go$go_brought.linux-$arch" >answer.json; then
		cat answer.json >&2
		exit 1
	fi
	sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p' answer.json
)
