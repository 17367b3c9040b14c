package overlay

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestOverlay(t *testing.T) { harness.Run(t, "Overlay") }
