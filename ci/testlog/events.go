package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is a line of `go test -json`; `go doc test2json` says what each field means.
type event struct {
	Action     string
	Package    string
	Test       string
	Output     string
	ImportPath string // of build-output, which has no Package
}

// readEvents calls each for every event of in. A line that is no event (go's own complaints) becomes an output of no
// package, so that nothing is lost.
func readEvents(in io.Reader, each func(event)) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				e = event{Action: "output", Output: string(line)}
			}
			each(e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
}

// printer prints events. What a test says is held until its outermost test ends, and is dropped where that passes.
type printer struct {
	out   io.Writer
	live  bool
	held  map[string]*strings.Builder // output by package and outermost test
	says  map[string]string           // last output of a test: the reason where it is skipped
	skips []skip
	// broken are the packages that failed, with the panic that ended them, or their last words.
	broken []ending
	panics map[string]string // by package
}

type ending struct{ pkg, words string }

func newPrinter(out io.Writer, live bool) *printer {
	return &printer{out: out, live: live, held: map[string]*strings.Builder{}, says: map[string]string{}, panics: map[string]string{}}
}

func (p *printer) event(e event) {
	key, outermost := outermostTest(e)
	switch e.Action {
	case "output":
		p.output(key, e)
	case "build-output":
		fmt.Fprint(p.out, e.Output)
	case "skip":
		if e.Test != "" {
			p.skips = append(p.skips, skip{name: relative(e.Package) + "." + e.Test, said: p.says[e.Package+"."+e.Test]})
		}
	case "fail":
		if e.Test == "" {
			p.broken = append(p.broken, ending{relative(e.Package), cmp.Or(p.panics[e.Package], p.says[e.Package+"."])})
			delete(p.panics, e.Package) // a suite may come twice, in parts
		}
		if outermost && p.held[key] != nil {
			fmt.Fprint(p.out, p.held[key])
		}
	}
	if outermost && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
		delete(p.held, key)
	}
}

func (p *printer) output(key string, e event) {
	if text := strings.TrimSpace(e.Output); text != "" && !strings.HasPrefix(text, "---") && !strings.HasPrefix(text, "===") {
		p.says[e.Package+"."+e.Test] = text
		if strings.HasPrefix(text, "panic: ") {
			p.panics[e.Package] = text
		}
	}
	switch {
	case e.Test == "" && (e.Output == "PASS\n" || strings.Contains(e.Output, "[no test files]")):
		// Noise: the line that names the package follows, or there is nothing to say of it.
	case p.live || e.Test == "":
		fmt.Fprint(p.out, e.Output)
	default:
		if p.held[key] == nil {
			p.held[key] = &strings.Builder{}
		}
		p.held[key].WriteString(e.Output)
	}
}

// outermostTest names the test that holds e's test, and says whether e is of that test itself.
func outermostTest(e event) (key string, itself bool) {
	root, _, nested := strings.Cut(e.Test, "/")
	return e.Package + "." + root, e.Test != "" && !nested
}

// relative cuts our module's path off a package's.
func relative(pkg string) string { return strings.TrimPrefix(pkg, "github.com/weir-lb/weir/") }
