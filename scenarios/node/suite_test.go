package node

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestNode(t *testing.T) { harness.Run(t, "Node") }
