package decide

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-lb/weir/controller"
)

func TestListedAnnotationsAreRead(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Annotations() {
		t.Run(a.Name, func(t *testing.T) {
			if seen[a.Name] || a.Values == "" || a.Meaning == "" {
				t.Errorf("%q is there twice, or not described", a.Name)
			}
			seen[a.Name] = true
			// The first of the values that are listed must have an effect.
			value, _, _ := strings.Cut(a.Values, ",")
			switch value {
			case "seconds":
				value = "5"
			case "0 to 65535", "number":
				value = "1"
			}
			s, bad := readAnnotations(map[string]string{prefixLoxiLB + a.Name: value}, controller.Config{})
			if bad != nil || len(s.ignored) > 0 || len(s.probe.faults) > 0 {
				t.Errorf("%s=%s: refused %v, ignored %q, faults %q", a.Name, value, bad, s.ignored, s.probe.faults)
			}
		})
	}
	for _, name := range probeFields {
		if !seen[name] {
			t.Errorf("%s fills a field of probes and is not listed", name)
		}
	}
}

func TestUnservedAnnotationsAreNamed(t *testing.T) {
	for _, u := range UnservedAnnotations() {
		for _, prefix := range []string{prefixLoxiLB, prefixWeir} {
			s, bad := readAnnotations(map[string]string{prefix + u.Name: "yes"}, controller.Config{})
			if bad != nil || !slices.Equal(s.ignored, []string{prefix + u.Name}) {
				t.Errorf("%s: refused %v, ignored %q", prefix+u.Name, bad, s.ignored)
			}
			service := &service{settings: s}
			if c := accepted(service); c.Reason != ReasonValidWithIgnored || !strings.Contains(c.Message, prefix+u.Name+" ("+u.Instead+")") {
				t.Errorf("%s: condition %+v", prefix+u.Name, c)
			}
		}
		if u.Instead == "" {
			t.Errorf("%s: nothing to do instead", u.Name)
		}
	}
}
