package badinput

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestBadInput(t *testing.T) { harness.Run(t, "Bad input") }
