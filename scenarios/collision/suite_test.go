package collision

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestCollision(t *testing.T) { harness.Run(t, "Clients on one source port") }
