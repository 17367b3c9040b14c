package restart

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestRestart(t *testing.T) { harness.Run(t, "Restart and drain") }
