// Package node is a machine of a topology: a namespace with its state folder
// and its processes. Methods may be called from several goroutines.
package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weir-lb/weir/topo/link"
	"github.com/weir-lb/weir/topo/netns"
	"github.com/weir-lb/weir/topo/spec"
)

// Node is one machine of a running topology.
type Node struct {
	Name string
	Spec *spec.Node
	NS   *netns.NetNS
	Vars Vars
	// Processes are in the order of the page.
	Processes []*Process
}

// Dir is the node's state folder: logs, sockets, files, certificates.
func (n *Node) Dir() string { return n.Vars.State }

// Do runs f with its thread in the node's namespace (netns.NetNS.Do): sockets
// that f itself opens belong to the node.
func (n *Node) Do(f func() error) error { return n.NS.Do(f) }

// Link returns the node's interface of that name.
func (n *Node) Link(name string) link.Interface { return link.Interface{NS: n.NS, Name: name} }

// Process returns the process of that name. A page without it is an error of
// the caller, so Process panics.
func (n *Node) Process(name string) *Process {
	for _, p := range n.Processes {
		if p.Spec.Name == name {
			return p
		}
	}
	panic(fmt.Sprintf("node %s runs no process %q", n.Name, name))
}

// Dial connects from the node. Address is an IP literal and port.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.DialFrom(ctx, net.Dialer{}, network, address)
}

// DialFrom is Dial with a dialer of the caller's, for a local address or a
// time-out.
func (n *Node) DialFrom(ctx context.Context, d net.Dialer, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := n.Do(func() error {
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen opens a stream listener in the node. Address is an IP literal and
// port.
func (n *Node) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Do(func() error {
		var err error
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a datagram socket in the node.
func (n *Node) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := n.Do(func() error {
		var err error
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// Command prepares name with the node's environment, found in the node's
// PATH. Start it with Node.Start, not with cmd.Start, which would run it in
// the caller's namespace. When ctx ends, the command and its children end.
func (n *Node) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := n.LookPath(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = name
	cmd.Env = n.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A grandchild that left the group may hold the output pipes open.
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// Start starts a command of Command in the node.
func (n *Node) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Run runs a command in the node and returns its standard output. The error
// has the command, its exit status and its standard error.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	return n.RunInput(ctx, nil, name, args...)
}

// RunInput is Run with standard input.
func (n *Node) RunInput(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	cmd, err := n.Command(ctx, name, args...)
	if err != nil {
		return "", err
	}
	var out, errout bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errout
	err = n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("run %s %s on %s: %w: %s", name, strings.Join(args, " "), n.Name, err,
			strings.TrimSpace(errout.String()))
	}
	return out.String(), nil
}

// Environ is the environment of the node's processes: the caller's, with the
// bin folder first in PATH, WEIR_SOCKET, and WEIR_CONTROLLER_SOCKET, which is
// one for the topology: kube-weir runs on one node and is asked from any.
func (n *Node) Environ() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PATH=") && !strings.HasPrefix(e, "WEIR_") {
			env = append(env, e)
		}
	}
	return append(env, "PATH="+n.path(), "WEIR_SOCKET="+filepath.Join(n.Dir(), "weir.sock"),
		"WEIR_CONTROLLER_SOCKET="+filepath.Join(n.Vars.Dir, "kube-weir.sock"), "WEIR_NODE="+n.Name)
}

func (n *Node) path() string {
	// Daemons such as bird live in sbin, which a user's PATH may lack.
	path := os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
	if n.Vars.Bin == "" {
		return path
	}
	return n.Vars.Bin + ":" + path
}

// LookPath finds a program in the PATH of the node.
func (n *Node) LookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(n.path()) {
		file := filepath.Join(dir, name)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("find %s for %s: not in %s; build or install it", name, n.Name, n.path())
}
