package node

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"go.uber.org/goleak"

	"github.com/weir-lb/weir/bgp/decide"
	"github.com/weir-lb/weir/bgp/fib"
	"github.com/weir-lb/weir/bgp/gobgp"
	"github.com/weir-lb/weir/internal/leaktest"
)

// childEnv makes the test binary a node instead of a test.
const childEnv = "WEIR_BGP_TEST_NODE"

// childOptions are the flags of a node.
type childOptions struct {
	Kind       decide.Kind
	Restarting bool
	SweepAfter time.Duration
}

// request and reply go over the node's standard input and output, a line of
// JSON each.
type request struct {
	Op       op
	BGP      *v1.BGP
	Services []v1.Service
	Roles    []v1.Role
}

type op string

const (
	opApply  op = "apply"
	opStatus op = "status"
	// opClose is Close: it ends the process as a restart would.
	opClose op = "close"
)

type reply struct {
	Error  string
	Status *v1.BGPStatus
}

func TestMain(m *testing.M) {
	if env := os.Getenv(childEnv); env != "" {
		if err := runChild(env); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Queues of peers that GoBGP has let go may stay (bgp/gobgp, TestMain).
	leaktest.Main(m, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
}

func runChild(env string) error {
	var o childOptions
	if err := json.Unmarshal([]byte(env), &o); err != nil {
		return err
	}
	kernel, err := fib.OpenNetlink()
	if err != nil {
		return err
	}
	defer kernel.Close()
	n := New(Options{
		Kind:       o.Kind,
		Kernel:     kernel,
		SweepAfter: o.SweepAfter,
		Speaker: gobgp.New(gobgp.Options{
			GRPC:       "127.0.0.1:50051",
			Restarting: o.Restarting,
			Logger:     slog.New(slog.NewTextHandler(os.Stderr, nil)),
		}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()

	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			return err
		}
		if err := out.Encode(serve(ctx, n, r)); err != nil {
			return err
		}
		if r.Op == opClose {
			break
		}
	}
	cancel()
	return <-ended
}

func serve(ctx context.Context, n *Node, r request) reply {
	var out reply
	var err error
	switch r.Op {
	case opApply:
		err = n.Apply(ctx, r.BGP, r.Services, r.Roles)
	case opStatus:
		out.Status, err = n.Status(ctx)
	case opClose:
		err = n.Close()
	default:
		err = fmt.Errorf("unknown operation %q", r.Op)
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}
