package health

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestHealth(t *testing.T) { harness.Run(t, "Health of backends") }
