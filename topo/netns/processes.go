package netns

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Processes lists the processes whose main thread is in one of the namespaces,
// the calling process excepted. A process that ends meanwhile is left out.
func Processes(namespaces ...*NetNS) ([]int, error) {
	wanted := make(map[fileID]bool, len(namespaces))
	for _, n := range namespaces {
		wanted[n.id] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat("/proc/"+e.Name()+"/ns/net", &st) == nil && wanted[fileID{st.Dev, st.Ino}] {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
