# shellcheck shell=bash
# docker.sh: a Docker daemon for kind. One that runs is used. Where none does, a private one is started in a network
# namespace of its own: its bridges and its firewall rules are nobody else's, and go with it.

# Where a private daemon lives: what it runs by (sockets need short paths), and its images and containers.
docker_run() { echo "/run/weir-docker-$1"; }
docker_data() { echo "$PWD/build/docker/$1"; }

docker_answers() { docker version >/dev/null 2>&1; }

# docker_start ID [OPTION...]: starts the private daemon ID, with options of dockerd, and makes it the one that docker talks
# to. It lives on when the script ends, until docker_stop.
docker_start() {
	local run data
	run=$(docker_run "$1") data=$(docker_data "$1")
	mkdir -p "$run" "$data"
	ip netns add "weir-docker-$1"
	ip -n "weir-docker-$1" link set lo up
	allow_watches "$run"
	# Sixteen nodes' worth of addresses is plenty, and none that the machine's own network is likely to have: the daemon
	# does not see that network. nsenter keeps the mounts, which ip netns exec would hide, cgroups among them.
	setsid nsenter --net="/run/netns/weir-docker-$1" dockerd --host "unix://$run/sock" --pidfile "$run/pid" \
		--exec-root "$run/exec" --data-root "$data" --default-cgroupns-mode private \
		--add-runtime "runccaps=$PWD/build/kube/runccaps" --default-runtime runccaps "${@:2}" \
		</dev/null >"$data/log" 2>&1 &
	docker_use "$1"
	await 60 docker_answers || die "dockerd does not answer; its words are in $data/log"
}

# docker_use ID: makes a private daemon the one that docker talks to.
docker_use() {
	DOCKER_HOST=unix://$(docker_run "$1")/sock
	export DOCKER_HOST
}

# docker_runs ID: whether the private daemon ID runs.
docker_runs() { [[ -e /run/netns/weir-docker-$1 ]]; }

# docker_stop ID: ends the private daemon ID with its containers, and removes what it had.
docker_stop() {
	local run data pid
	run=$(docker_run "$1") data=$(docker_data "$1")
	pid=$(cat "$run/pid" 2>/dev/null) || true
	if [[ -n $pid ]] && kill "$pid" 2>/dev/null; then
		await 90 is_gone "$pid" || kill -9 "$pid" || true
	fi
	unmount_below "$run"
	unmount_below "$data"
	return_watches "$run"
	rm -rf "$run" "$data"
	! docker_runs "$1" || ip netns delete "weir-docker-$1"
	unset DOCKER_HOST
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

# unmount_below FOLDER. What the daemon itself has unmounted meanwhile is no error; rm tells of what stays.
unmount_below() {
	awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount --quiet --lazy || true
}

readonly watches=/proc/sys/fs/inotify/max_user_instances

# allow_watches FOLDER raises a limit of the kernel that every node's systemd, kubelet and containerd draw on, if it is
# lower than four nodes beside other work need, and notes in the daemon's folder what it was.
allow_watches() {
	local wanted=1024
	[[ $(<"$watches") -lt $wanted ]] || return 0
	say "raising fs.inotify.max_user_instances from $(<"$watches") to $wanted while the cluster stands"
	cp "$watches" "$1/watches"
	echo "$wanted" >"$watches"
}

# return_watches FOLDER gives the limit back, or to another copy's daemon the note of what it was.
return_watches() {
	local other
	[[ -e $1/watches ]] || return 0
	for other in /run/weir-docker-*; do
		if [[ $other != "$1" ]]; then
			mv "$1/watches" "$other/"
			return
		fi
	done
	cat "$1/watches" >"$watches"
}
