package nat

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestNAT(t *testing.T) { harness.Run(t, "NAT, byte for byte") }
