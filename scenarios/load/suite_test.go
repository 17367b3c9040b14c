package load

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestLoad(t *testing.T) { harness.Run(t, "Load, none lost") }
