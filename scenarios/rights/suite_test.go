package rights

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestRights(t *testing.T) { harness.Run(t, "Rights") }
