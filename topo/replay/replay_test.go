package replay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/topo/spec"
)

func TestUntilTrueRepeatsUntilTheOutputIsAsExpected(t *testing.T) {
	s := spec.Step{Expect: []string{`^ready$`}, Reject: []string{"error"}, Within: 10 * time.Second}
	outputs := []string{"", "ready but error", "not ready", "line\nready\n"}
	runs := 0
	got, err := untilTrue(t.Context(), s, mustCompile(t, s), func(context.Context) (string, error) {
		runs++
		if runs == 1 {
			return "", errors.New("exit status 1")
		}
		return outputs[runs-1], nil
	})
	if err != nil || got != outputs[3] || runs != 4 {
		t.Errorf("got %q after %d runs, error %v; want the fourth output", got, runs, err)
	}
}

func TestUntilTrueSaysWhatWasMissing(t *testing.T) {
	tests := map[string]struct {
		step   spec.Step
		output string
		err    error
		want   string
	}{
		"nothing matches":    {spec.Step{Expect: []string{"up", "via 192.0.2.1"}}, "up", nil, "no line matches via 192.0.2.1"},
		"rejected is there":  {spec.Step{Reject: []string{"lost=[1-9]+"}}, "lost=3", nil, `"lost=3" must not be there`},
		"the command failed": {spec.Step{Expect: []string{"."}}, "", errors.New("exit status 2"), "exit status 2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.step.Within = time.Millisecond
			got, err := untilTrue(t.Context(), tt.step, mustCompile(t, tt.step), func(context.Context) (string, error) {
				return tt.output, tt.err
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) || got != tt.output {
				t.Errorf("got output %q, error %v; want the last output and %q", got, err, tt.want)
			}
		})
	}
}

func mustCompile(t *testing.T, s spec.Step) expectation {
	t.Helper()
	e, err := compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
