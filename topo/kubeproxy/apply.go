package kubeproxy

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/weir-lb/weir/topo/netns"
)

// Apply loads rules of Rules into the namespace, in place of all that its
// filter and nat tables hold. It needs iptables-restore, the one tool of the
// machine that a topology cannot do without.
func Apply(ctx context.Context, ns *netns.NetNS, rules string) error {
	return restore(ctx, ns, rules)
}

// Add is Apply that leaves what is there.
func Add(ctx context.Context, ns *netns.NetNS, rules string) error {
	return restore(ctx, ns, rules, "--noflush")
}

func restore(ctx context.Context, ns *netns.NetNS, rules string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "iptables-restore", flags...)
	cmd.Stdin = strings.NewReader(rules)
	var errout bytes.Buffer
	cmd.Stderr = &errout
	err := ns.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("load rules into %s: %w: %s", ns.Name(), err, strings.TrimSpace(errout.String()))
	}
	return nil
}
