package topo

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/weir-lb/weir/internal/leaktest"
)

// TestMain lets the test program play other parts: the pod's server, and the
// owner of a topology that is killed.
func TestMain(m *testing.M) {
	switch os.Getenv("TOPO_TEST_ROLE") {
	case "serve":
		exit(serve())
	case "owner":
		exit(own())
	}
	leaktest.Main(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers each TCP connection and UDP datagram on 8080 with a line: the
// greeting and the client's address.
func serve() error {
	greeting, err := os.ReadFile(os.Getenv("TOPO_TEST_GREETING"))
	if err != nil {
		return err
	}
	fmt.Println("serving", string(greeting))
	udp, err := net.ListenPacket("udp4", ":8080")
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 1500)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(fmt.Appendf(nil, "%s for %s\n", greeting, from), from)
		}
	}()
	l, err := net.Listen("tcp4", ":8080")
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "%s for %s\n", greeting, c.RemoteAddr())
		c.Close()
	}
}

// own brings a topology up, says so, and holds it until it is killed or
// interrupted.
func own() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	page, err := Load("testdata/lab.yaml")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	t, err := Up(ctx, page, Options{
		Root: os.Getenv("TOPO_TEST_ROOT"), Name: os.Getenv("TOPO_TEST_ID"), Vars: map[string]string{"self": self},
		Progress: os.Stdout,
	})
	if err != nil {
		return err
	}
	fmt.Println("up")
	<-ctx.Done()
	clean, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return t.Down(clean)
}
