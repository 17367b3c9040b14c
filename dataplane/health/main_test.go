package health

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
)

func TestMain(m *testing.M) {
	nstest.Isolate()
	goleak.VerifyTestMain(m)
}
