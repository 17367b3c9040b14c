package packettest

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/weir-lb/weir/internal/leaktest"
)

// leastRows is how many rows, packet in, verdict, packet out, there are at least.
const leastRows = 250

// rowsRun counts rows, each once for all hooks. Tests of this package run one after the other.
var rowsRun int

func TestMain(m *testing.M) { leaktest.Main(tests{m}) }

// tests closes what they share after the last one.
type tests struct{ *testing.M }

// Run runs the tests and returns their exit code.
func (t tests) Run() int {
	if folder := os.Getenv(objectsFolder); folder != "" {
		fmt.Println("the objects are those in", folder)
	}
	code := t.M.Run()
	if code == 0 && runsAll() && rowsRun < leastRows {
		fmt.Fprintf(os.Stderr, "the tables have %d rows, which are to be %d at least\n", rowsRun, leastRows)
		code = 1
	}
	if o, err := loaded(); err == nil {
		o.close()
	}
	return code
}

// runsAll tells whether no test is left out.
func runsAll() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}
