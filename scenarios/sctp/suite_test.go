package sctp

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestSCTP(t *testing.T) { harness.Run(t, "SCTP") }
