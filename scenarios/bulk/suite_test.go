package bulk

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestBulk(t *testing.T) { harness.Run(t, "Bulk transfers") }
