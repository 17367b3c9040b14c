package health

import (
	"testing"

	"github.com/weir-lb/weir/dataplane/internal/nstest"
	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) {
	nstest.Isolate()
	leaktest.Main(m)
}
