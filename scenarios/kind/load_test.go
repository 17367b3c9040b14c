package kind

import (
	"context"
	"fmt"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// batch is how many connections one command of the client makes, parallel how
// many of them at once.
const (
	batch    = 250
	parallel = 4
)

// beginLoad makes connection after connection from the client until end is called
// and at least so many were made. end returns how many they were; one that fails
// ends the load and fails the spec.
func beginLoad(ctx context.Context, target string, least int) (end func() int) {
	type outcome struct {
		made int
		err  error
	}
	stop, done := make(chan struct{}), make(chan outcome, 1)
	go func() {
		var o outcome
		for o.err == nil && (o.made < least || !stopped(stop)) {
			var said string
			said, o.err = cluster.Client.Run(ctx, "weir-topo", "request", "http", target,
				"--count", strconv.Itoa(batch), "--parallel", strconv.Itoa(parallel))
			if o.err != nil {
				o.err = fmt.Errorf("after %d connections: %w\n%s", o.made, o.err, said)
			}
			o.made += batch
		}
		done <- o
	}()
	return func() int {
		GinkgoHelper()
		close(stop)
		o := <-done
		Expect(o.err).NotTo(HaveOccurred())
		return o.made
	}
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
