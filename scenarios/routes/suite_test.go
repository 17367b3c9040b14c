package routes

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestRoutes(t *testing.T) { harness.Run(t, "Routes to service addresses") }
