package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// names of the capabilities by number, as in linux/capability.h.
var names = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE
	SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL
	SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// privileged is how many capabilities the oldest Docker that is served asks for when a container is privileged: it does
// not know the last three, which then are added.
const privileged = 37

// capabilities is a set of names with CAP_ before them.
type capabilities map[string]bool

// bounding reads the set of all that a process can ever have out of its /proc/PID/status.
func bounding(status string) (capabilities, error) {
	for line := range strings.Lines(status) {
		hex, ok := strings.CutPrefix(line, "CapBnd:")
		if !ok {
			continue
		}
		bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read the bounding set: %w", err)
		}
		set := capabilities{}
		for i, n := range names {
			if bits&(1<<i) != 0 {
				set["CAP_"+n] = true
			}
		}
		return set, nil
	}
	return nil, errors.New("read the bounding set: no CapBnd in /proc/self/status")
}

// trim takes out of an OCI process what cannot be had.
func trim(process map[string]any, have capabilities) {
	sets, _ := process["capabilities"].(map[string]any)
	for kind, value := range sets {
		wanted, _ := value.([]any)
		sets[kind] = possible(wanted, have)
	}
	// A negative value asks for CAP_SYS_RESOURCE.
	if score, ok := process["oomScoreAdj"].(float64); ok && score < 0 && !have["CAP_SYS_RESOURCE"] {
		process["oomScoreAdj"] = 0
	}
}

func possible(wanted []any, have capabilities) []any {
	if len(wanted) >= privileged {
		for _, n := range names[privileged+1:] {
			if !slices.Contains(wanted, any("CAP_"+n)) {
				wanted = append(wanted, "CAP_"+n)
			}
		}
	}
	out := []any{}
	for _, w := range wanted {
		if name, _ := w.(string); have[name] {
			out = append(out, w)
		}
	}
	return out
}
