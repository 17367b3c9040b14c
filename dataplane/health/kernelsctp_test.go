package health

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/waittest"
)

const node = "10.0.1.1"

// TestKernelSCTP probes kernels that have SCTP themselves, on both ends: what the
// comment of Network.sctp says of them is held here. ci/kernels.sh runs it.
func TestKernelSCTP(t *testing.T) {
	if _, err := os.Stat("/proc/net/sctp"); errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel has no SCTP")
	}
	host := mustHost(t)
	server := mustSCTP(t, host, backend, open)
	bystander := mustSCTP(t, nil, node, 0)
	mustConnect(t, bystander, server)
	accepted := mustAccept(t, server)

	initiate := func(t *testing.T, source uint16) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), waittest.Deadline)
		defer cancel()
		_, err := association{source: source, destination: open, tag: 7}.initiate(ctx, at(backend, open).Addr())
		return err
	}
	for range 20 {
		if _, err := probeOnce(t, new(Network), v1.ProbeSCTP, backend, open); err != nil {
			t.Fatalf("a listener of the kernel's: %v", err)
		}
	}
	if _, err := probeOnce(t, new(Network), v1.ProbeSCTP, backend, shut); err == nil || err.Error() != "send INIT: "+errAborted.Error() {
		t.Errorf("a port that nobody listens on: %v", err)
	}
	mustListenSCTP(t, mustSCTP(t, nil, node, firstSourcePort))
	if err := initiate(t, firstSourcePort); err != nil {
		t.Errorf("from a port that the node's kernel listens on: %v", err)
	}
	if err := initiate(t, mustPort(t, bystander)); err != nil {
		t.Errorf("from the port of an association of the node's kernel with that server: %v", err)
	}

	// Nothing was taken up, and what stood before stands.
	if _, _, err := unix.Accept(server); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the server has accepted a probe: %v", err)
	}
	var there int
	host.Do(t, func() { there = associations(t) })
	if here := associations(t); here != 1 || there != 1 {
		t.Errorf("%d associations on the node and %d on the server, want the one that no probe made", here, there)
	}
	for _, way := range [][2]int{{bystander, accepted}, {accepted, bystander}} {
		const words = "after the probes"
		got := make([]byte, 64)
		if _, err := unix.Write(way[0], []byte(words)); err != nil {
			t.Fatalf("the association is gone: %v", err)
		}
		mustPoll(t, way[1], unix.POLLIN)
		if n, err := unix.Read(way[1], got); err != nil || string(got[:n]) != words {
			t.Errorf("read %q, %v", got[:max(n, 0)], err)
		}
	}
}

// mustSCTP opens a one-to-one socket of the kernel's (RFC 6458, 4) that does not block.
// host nil: this process's namespace.
func mustSCTP(t *testing.T, host *nstest.Namespace, address string, port uint16) (fd int) {
	t.Helper()
	open := func() {
		var err error
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP); err != nil {
			t.Errorf("open SCTP socket: %v", err)
			return
		}
		if err := unix.Bind(fd, sockaddr(at(address, port))); err != nil {
			t.Errorf("bind SCTP socket: %v", err)
		}
	}
	if host == nil {
		open()
	} else {
		host.Do(t, open)
		mustListenSCTP(t, fd)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func mustListenSCTP(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatalf("listen: %v", err)
	}
}

func mustConnect(t *testing.T, from, to int) {
	t.Helper()
	server, err := unix.Getsockname(to)
	if err == nil {
		err = unix.Connect(from, server)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect: %v", err)
	}
	mustPoll(t, from, unix.POLLOUT)
}

func mustAccept(t *testing.T, server int) int {
	t.Helper()
	mustPoll(t, server, unix.POLLIN)
	fd, _, err := unix.Accept4(server, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func mustPoll(t *testing.T, fd int, events int16) {
	t.Helper()
	deadline := time.Now().Add(waittest.Deadline)
	for {
		polled := []unix.PollFd{{Fd: int32(fd), Events: events}}
		n, err := unix.Poll(polled, int(time.Until(deadline).Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n != 1 || polled[0].Revents&events == 0 {
			t.Fatalf("wait for the socket: %v, events %#x", err, polled[0].Revents)
		}
		return
	}
}

func mustPort(t *testing.T, fd int) uint16 {
	t.Helper()
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(name.(*unix.SockaddrInet4).Port)
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// associations counts those of the kernel in the calling thread's namespace.
func associations(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/sctp/assocs")
	if err != nil {
		t.Error(err)
	}
	return strings.Count(string(b), "\n") - 1 // the first line has the columns' names
}
