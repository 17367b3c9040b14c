package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/topo/netns"
)

// docker runs the command line and returns what it printed; an error holds what it complained of.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin = stdin
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()+out.String()))
	}
	return out.String(), nil
}

// Machine is a container that plays a machine: a node, or the client.
type Machine struct {
	Name    string // the container's, and the node's
	Address netip.Addr
}

// Run runs a command on the machine and returns what it printed.
func (m Machine) Run(ctx context.Context, command ...string) (string, error) {
	return docker(ctx, nil, append([]string{"exec", m.Name}, command...)...)
}

// feed runs a command that reads from stdin.
func (m Machine) feed(ctx context.Context, stdin string, command ...string) (string, error) {
	return docker(ctx, strings.NewReader(stdin), append([]string{"exec", "-i", m.Name}, command...)...)
}

// Weir runs a command of weir's image where weir runs on the machine, as kubectl exec does, but without the API server.
func (m Machine) Weir(ctx context.Context, command ...string) (string, error) {
	return m.Run(ctx, append([]string{"sh", "-c", `exec nsenter --target "$(pgrep --exact --oldest weir)" --mount -- "$@"`, "weir"}, command...)...)
}

// Dial connects to an address as a process on the machine would.
func (m Machine) Dial(ctx context.Context, to netip.AddrPort) (conn net.Conn, err error) {
	ns, err := namespace(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", to.String())
		return err
	})
	return conn, errors.Join(err, ns.Close())
}

// namespace opens the network namespace that a running container is in.
func namespace(ctx context.Context, name string) (*netns.NetNS, error) {
	pid, err := process(ctx, name)
	if err != nil {
		return nil, err
	}
	return netns.OfProcess(pid)
}

// process is the first process of a running container, as this machine numbers it.
func process(ctx context.Context, name string) (int, error) {
	out, err := docker(ctx, nil, "inspect", "--format", "{{.State.Pid}}", name)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		return 0, fmt.Errorf("look up the process of %s: %w", name, err)
	}
	return pid, nil
}

// machine looks up a running container's address in the network.
func machine(ctx context.Context, name, network string) (Machine, error) {
	out, err := docker(ctx, nil, "inspect", "--format", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, name)
	if err != nil {
		return Machine{}, err
	}
	a, err := netip.ParseAddr(strings.TrimSpace(out))
	if err != nil {
		return Machine{}, fmt.Errorf("look up the address of %s: %w", name, err)
	}
	return Machine{Name: name, Address: a}, nil
}
