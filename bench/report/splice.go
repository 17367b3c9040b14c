package report

import (
	"fmt"
	"regexp"
)

// place is where a part of the report stands in a page.
var place = regexp.MustCompile(`(?s)<!-- bench: ([a-z-]+) -->\n.*?<!-- bench end -->`)

// Splice puts the parts into their places in a page, in stead of what stands
// there. A place whose part was not measured is an error: the page would mix runs.
func Splice(page string, parts map[string]string) (string, error) {
	var err error
	found := 0
	out := place.ReplaceAllStringFunc(page, func(old string) string {
		found++
		name := place.FindStringSubmatch(old)[1]
		part, ok := parts[name]
		if !ok {
			err = fmt.Errorf("fill place %q: this run has not measured it; run `make bench` whole", name)
			return old
		}
		return "<!-- bench: " + name + " -->\n" + part + "<!-- bench end -->"
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("fill page: it has no place `<!-- bench: NAME -->` ... `<!-- bench end -->`")
	}
	return out, err
}
