package endtoend

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/bench/lab"
)

// wrongChecksums counts the TCP segments with a wrong checksum at both ends.
func wrongChecksums(l *lab.Lab) (uint64, error) {
	var sum uint64
	for _, node := range []string{"client", "server"} {
		err := l.Node(node).Do(func() error {
			// The thread's own: /proc/net is that of the process's first one.
			b, err := os.ReadFile("/proc/thread-self/net/snmp")
			if err != nil {
				return err
			}
			n, err := snmp(string(b), "Tcp", "InCsumErrors")
			sum += n
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("read counters of %s: %w", node, err)
		}
	}
	return sum, nil
}

// snmp reads one value: a line of names is followed by one of values.
func snmp(text, protocol, name string) (uint64, error) {
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != protocol+":" {
			continue
		}
		if names == nil {
			names = words
			continue
		}
		for i := range min(len(names), len(words)) {
			if names[i] == name {
				return strconv.ParseUint(words[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("no %s of %s", name, protocol)
}
