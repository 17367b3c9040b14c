package dataplane

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weir-lb/weir/dataplane/plan"
)

// FuzzParsePorts holds that ranges are read as they can be written again, in either
// form of the kernel's, or refused in one line; and that ports kept apart by them are.
func FuzzParsePorts(f *testing.F) {
	for _, seed := range []string{
		"32768\t60999\n", "1024 65535", "\n", "8080\n", "8080,9148-9150,30000-32767\n", "65536\n", "60999 32768", "8080,", "1-2-3", "0-65535", "1 2,3 4",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ranges, err := parsePorts(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than a line: %q", err)
			}
			return
		}
		var texts []string
		for _, r := range ranges {
			if r.Max < r.Min {
				t.Fatalf("%q has the range %v", text, r)
			}
			texts = append(texts, fmt.Sprintf("%d-%d", r.Min, r.Max))
		}
		if again, err := parsePorts(strings.Join(texts, ",")); err != nil || !slices.Equal(again, ranges) {
			t.Fatalf("%v became %v, %v", ranges, again, err)
		}
		if len(ranges) == 0 {
			return
		}
		own, apart := plan.OwnPorts(ranges[0], ranges[1:])
		if own.Max < own.Min || own.Min < 1024 {
			t.Fatalf("own ports %v beside %v", own, ranges)
		}
		for _, r := range ranges {
			if apart && own.Min <= r.Max && r.Min <= own.Max {
				t.Fatalf("own ports %v are in %v", own, r)
			}
		}
	})
}
