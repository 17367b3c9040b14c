package flood

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestFlood(t *testing.T) { harness.Run(t, "Floods, and a full flow table") }
