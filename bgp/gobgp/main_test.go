package gobgp

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-lb/weir/internal/leaktest"
)

// GoBGP does not close the queue of a peer that it lets go in the middle of a session's
// begin; the goroutine of such a queue stays.
func TestMain(m *testing.M) {
	leaktest.Main(m, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
}
