package packettest

import (
	"testing"

	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(tests{m}) }

// tests closes what they share after the last one.
type tests struct{ *testing.M }

// Run runs the tests and returns their exit code.
func (t tests) Run() int {
	code := t.M.Run()
	if o, err := loaded(); err == nil {
		o.close()
	}
	return code
}
