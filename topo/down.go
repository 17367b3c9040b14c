package topo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/build"
	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/node"
)

// Down stops the processes and removes everything of the topology. It goes on
// past errors and returns them all; ctx bounds the wait for processes.
func (t *Topology) Down(ctx context.Context) error {
	t.progress("down: processes, namespaces, files")
	err := stopAll(ctx, t.Processes())
	err = errors.Join(err, t.inst.teardown(ctx))
	for _, n := range t.nodes {
		err = errors.Join(err, n.NS.Close())
	}
	if t.spawner != nil {
		t.spawner.Close()
		t.spawner = nil
	}
	return err
}

// stopAll asks all processes to end, waits for them together and kills what
// is left after node.StopTimeout.
func stopAll(ctx context.Context, all []*node.Process) error {
	soft, cancel := context.WithTimeout(ctx, node.StopTimeout)
	defer cancel()
	var errs []error
	for _, p := range all {
		errs = append(errs, p.Signal(unix.SIGTERM))
	}
	for _, p := range all {
		if p.Wait(soft) != nil {
			errs = append(errs, p.Kill(ctx))
		}
	}
	return errors.Join(errs...)
}

// teardown removes what belongs to the instance, whoever built it: processes
// by the namespace they are in, mounts, namespaces, the folder.
func (i *instance) teardown(ctx context.Context) error {
	err := killMembers(ctx, i.Namespaces)
	if err != nil {
		// The folder stays, so that the next sweep tries again.
		return errors.Join(err, i.release())
	}
	if err := unmountBelow(i.dir()); err != nil {
		return errors.Join(err, i.release())
	}
	if err := build.Teardown(i.Namespaces); err != nil {
		return errors.Join(err, i.release())
	}
	return i.remove()
}

// killMembers kills until the namespaces have no process, as long as ctx
// lasts: a process may fork while it is looked for.
func killMembers(ctx context.Context, names []string) error {
	var spaces []*netns.NetNS
	for _, name := range names {
		if n, err := netns.Open(name); err == nil {
			defer n.Close()
			spaces = append(spaces, n)
		}
	}
	if len(spaces) == 0 {
		return nil
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := netns.Processes(spaces...)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end processes %v: %w", pids, ctx.Err())
		case <-tick.C:
		}
	}
}

// unmountBelow unmounts what is mounted below dir, such as a bpffs of a node.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	// The last mount first: it may lie on another.
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}
	return nil
}
