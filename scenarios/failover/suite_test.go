package failover

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestFailover(t *testing.T) { harness.Run(t, "Failover") }
