package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// traces is a script that prints what an installation may leave on a node, a line for each thing. What belongs to pods that
// come and go is left out, and so is the BPF file system, which stays mounted as docs/install.md says. BPF objects live by
// pins, by processes and by interfaces, which Programs looks at.
const traces = `
find /run /var/lib /etc /opt /tmp -xdev -name '*weir*' | grep -v -e ^/run/containerd/ -e ^/var/lib/containerd/ -e ^/var/lib/kubelet/
find /sys/fs/bpf -mindepth 1 ! -name '*.debug'
grep -slE '^(prog|map|link)_id:' /proc/[0-9]*/fdinfo/* | cut -d / -f 3 | sort -u | while read -r pid; do
	echo "$(cat "/proc/$pid/comm")` + hasObjects + `"
done
findmnt --raw --noheadings --output TARGET,FSTYPE |
	grep -v -e ^/run/ -e ^/var/lib/kubelet/ -e ^/proc/ -e ^/sys/fs/cgroup/ -e '^/sys/fs/bpf bpf$'
findmnt --raw --noheadings --output TARGET --types bpf | sort | uniq --repeated
grep -s . /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/default/rp_filter \
	/proc/sys/net/ipv4/conf/lo/rp_filter /proc/sys/net/ipv4/conf/eth0/rp_filter /proc/sys/net/ipv4/conf/flannel.1/rp_filter
ip route show table all | grep -e ' proto bgp' -e ' proto 119'
ip neigh show nud permanent | grep -v ' dev flannel.1 '
ip rule
ip -oneline address show dev lo
ip -oneline address show dev eth0
tc qdisc show dev eth0
true`

// hasObjects is what traces says of a process that has BPF objects.
const hasObjects = " has BPF objects"

// Traces are what an installation of weir may leave on a node, a line for each thing.
func (m Machine) Traces(ctx context.Context) ([]string, error) {
	out, err := m.Run(ctx, "sh", "-c", traces)
	if err != nil {
		return nil, err
	}
	all := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	programs, err := m.Programs(ctx)
	for device, names := range programs {
		all = append(all, device+" has the programs "+strings.Join(names, ", "))
	}
	return all, err
}

// untouched is the file with the traces of each node before weir came for the first time.
func (c *Cluster) untouched() string { return filepath.Join(c.dir, "untouched.json") }

func (c *Cluster) noteUntouched(ctx context.Context) error {
	before := map[string][]string{}
	for _, m := range slices.Concat(c.Masters, c.Workers) {
		var err error
		if before[m.Name], err = m.Traces(ctx); err != nil {
			return err
		}
	}
	page, err := json.Marshal(before)
	if err != nil {
		return err
	}
	return os.WriteFile(c.untouched(), page, 0o600)
}

// Clean sees that weir, which was taken off, has left nothing on any node that was not there before it came. The error names
// what is there. Only the end of weir's processes it waits for, until ctx's: kubectl waits for a pod's, not for theirs.
func (c *Cluster) Clean(ctx context.Context) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		left, err := c.left(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		ends := !slices.ContainsFunc(left, func(line string) bool { return !strings.HasSuffix(line, hasObjects) })
		if ends {
			select {
			case <-again.C:
				continue
			case <-ctx.Done():
			}
		}
		return fmt.Errorf("left on nodes:\n%s", strings.Join(left, "\n"))
	}
}

// left are the traces of each node that it did not have before.
func (c *Cluster) left(ctx context.Context) (left []string, err error) {
	page, err := os.ReadFile(c.untouched())
	if err != nil {
		return nil, err
	}
	before := map[string][]string{}
	if err := json.Unmarshal(page, &before); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.untouched(), err)
	}
	for name, had := range before {
		now, err := Machine{Name: name}.Traces(ctx)
		if err != nil {
			return nil, err
		}
		for _, line := range now {
			if !slices.Contains(had, line) {
				left = append(left, name+": "+line)
			}
		}
	}
	return left, nil
}
