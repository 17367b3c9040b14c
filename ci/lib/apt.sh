# shellcheck shell=bash
# apt.sh: Debian packages, installed without questions and without starting what they bring.

# Debian's packages of BIRD, Docker, FRR, GoBGP, HAProxy and nginx start a daemon when they are installed, and again at every
# boot. Ours run in namespaces only, so the host's copies must do neither.
readonly policy=/usr/sbin/policy-rc.d
readonly policy_before=/usr/sbin/policy-rc.d.before-weir
readonly policy_mark='weir-setup: nothing may start while packages are installed'
readonly -A host_daemons=([bird2]=bird [containerd]=containerd [docker.io]=docker [frr]=frr [gobgpd]=gobgpd [haproxy]=haproxy [nginx]=nginx) # package to service
brought='' # packages of this installation

require_debian() {
	command -v apt-get >/dev/null && command -v dpkg-query >/dev/null && return
	die "this is neither Debian nor Ubuntu (no apt-get): install the counterparts of '$*' and try on Debian 12"
}

lacking_packages() {
	local installed
	# dpkg-query fails where a package is unknown; what it does know is all that matters.
	installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null |
		awk '$2 == "installed" { print $1 }') || true
	comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$installed")
}

# install_packages NAME...: installs those that lack, in one apt run, with no service started by it.
install_packages() {
	local lacking
	mapfile -t lacking < <(lacking_packages "$@")
	brought=" ${lacking[*]} "
	[[ ${#lacking[@]} -gt 0 ]] || return 0
	[[ $(id -u) -eq 0 ]] || die "packages lack (${lacking[*]}): run this as root"

	# One installation at a time on a machine, whichever clone runs it. The lock is on a folder, so no file stays behind.
	exec 9<"$(dirname "$policy")"
	flock 9
	trap 'settle' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	hold_services

	say "updating the package lists"
	run_apt update || say "the package lists could not be updated: going on with those at hand"
	finish_broken_install
	say "installing ${lacking[*]}"
	run_apt install -y --no-install-recommends "${lacking[@]}" ||
		die "apt-get install failed (its words are above): repair apt and run this again"
	settle
	trap - EXIT INT TERM HUP
	exec 9<&-
}

# run_apt ARGUMENT...: apt-get without questions; its output is shown only when it fails. apt-get stays in the foreground
# so that an interruption takes effect after dpkg's step and not inside it, where services could start unheld.
run_apt() {
	local log
	log=$(mktemp)
	if DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 \
		"$@" >"$log" 2>&1 </dev/null 9<&-; then
		rm -f "$log"
		return 0
	fi
	cat "$log" >&2
	rm -f "$log"
	return 1
}

# finish_broken_install completes what an earlier, interrupted run left half configured: apt refuses to work on top of it.
finish_broken_install() {
	[[ -n $(dpkg --audit) ]] || return 0
	say "completing an installation that was interrupted"
	DEBIAN_FRONTEND=noninteractive dpkg --configure -a >/dev/null </dev/null 9<&- ||
		die "dpkg --configure -a failed: repair dpkg and run this again"
}

# hold_services puts a policy-rc.d in place that forbids every start (101, as invoke-rc.d's manual says). One that was
# there steps aside until release_services.
hold_services() {
	release_services
	if [[ -e $policy || -L $policy ]]; then
		say "setting aside $policy while packages are installed"
		mv "$policy" "$policy_before"
	fi
	printf '#!/bin/sh\n# %s\nexit 101\n' "$policy_mark" >"$policy"
	chmod 755 "$policy"
}

# release_services removes our policy-rc.d and puts back the one that was there. It may run at any time and any number of
# times: it also repairs what a killed run left.
release_services() {
	if [[ -f $policy ]] && grep -qF "$policy_mark" "$policy"; then
		rm -f "$policy"
	fi
	if [[ -e $policy_before || -L $policy_before ]]; then
		mv "$policy_before" "$policy"
	fi
}

# keep_off_at_boot disables the daemons that this installation brought, for systemd and for init scripts. Those that were
# there before are their owner's business.
keep_off_at_boot() {
	local package daemon unit
	for package in "${!host_daemons[@]}"; do
		daemon=${host_daemons[$package]}
		[[ $brought == *" $package "* && -e /lib/systemd/system/$daemon.service ]] || continue
		say "keeping the host's own $daemon off at boot: weir runs it in namespaces only"
		update-rc.d "$daemon" disable >/dev/null 2>&1 || true
		command -v systemctl >/dev/null || continue
		for unit in "$daemon.service" "$daemon.socket"; do # a socket would start its service at the first call
			[[ ! -e /lib/systemd/system/$unit ]] || systemctl disable --quiet "$unit" >/dev/null 2>&1 || true
		done
	done
}

# settle ends an installation, also one that was interrupted.
settle() {
	keep_off_at_boot
	release_services
}
