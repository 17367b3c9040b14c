package apiserver

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestAPIServer(t *testing.T) { harness.Run(t, "kube-weir on a real apiserver") }
