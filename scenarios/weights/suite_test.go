package weights

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestWeights(t *testing.T) { harness.Run(t, "Weights") }
