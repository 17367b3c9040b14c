package endpoints

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestEndpoints(t *testing.T) { harness.Run(t, "Endpoints that come and go") }
