package answers

import (
	"testing"

	"github.com/weir-lb/weir/scenarios/harness"
)

func TestAnswers(t *testing.T) { harness.Run(t, "Answers") }
