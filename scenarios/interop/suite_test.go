package interop

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestInterop(t *testing.T) { harness.Run(t, "interop") }
