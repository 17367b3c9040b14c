package spec

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	pageType = reflect.TypeFor[Page]()
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// strict compares a YAML tree with the Go type it is for. yaml's own
// KnownFields names neither the path nor the fields that there are.
type strict struct {
	lines    map[string]int
	problems []Problem
}

func newStrict() *strict { return &strict{lines: map[string]int{}} }

func (s *strict) report(n *yaml.Node, path, format string, args ...any) {
	s.problems = append(s.problems, Problem{n.Line, path, fmt.Sprintf(format, args...)})
}

// line returns the line of path, or of the nearest ancestor that has one.
func (s *strict) line(path string) int {
	for path != "" {
		if l, ok := s.lines[path]; ok {
			return l
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return 0
}

func (s *strict) check(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	s.lines[path] = n.Line
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(textType) {
		s.checkText(n, t, path)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		s.checkStruct(n, t, path)
	case reflect.Map:
		s.each(n, path, func(key, value *yaml.Node, at string) { s.check(value, t.Elem(), at) })
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			s.report(n, path, "is no list, write [a, b] or lines with a dash")
			return
		}
		for i, c := range n.Content {
			s.check(c, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		s.checkScalar(n, t, path)
	}
}

func (s *strict) checkText(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.ScalarNode {
		s.report(n, path, "is no single value")
		return
	}
	v := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if err := v.UnmarshalText([]byte(n.Value)); err != nil {
		s.report(n, path, "%s", err)
	}
}

func (s *strict) checkScalar(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.ScalarNode {
		s.report(n, path, "is no single value")
		return
	}
	if err := n.Decode(reflect.New(t).Interface()); err != nil {
		s.report(n, path, "%q is not a %s", n.Value, t)
	}
}

func (s *strict) checkStruct(n *yaml.Node, t reflect.Type, path string) {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag != "-" && tag != "" {
			fields[tag] = t.Field(i).Type
		}
	}
	s.each(n, path, func(key, value *yaml.Node, at string) {
		ft, ok := fields[key.Value]
		if !ok {
			s.report(key, at, "unknown field, use one of %s", strings.Join(sortedKeys(fields), ", "))
			return
		}
		s.check(value, ft, at)
	})
}

// notPlain are the kinds of key that yaml leaves out of a map of names, or enters under another name than the page says.
var notPlain = []string{"!!null", "!!binary", "!!merge"}

// each calls f for the pairs of mapping n and refuses a key that is no plain name, or that comes twice.
func (s *strict) each(n *yaml.Node, path string, f func(key, value *yaml.Node, at string)) {
	if n.Kind != yaml.MappingNode {
		s.report(n, path, "is no mapping, write key: value")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || slices.Contains(notPlain, key.ShortTag()) {
			s.report(key, path, "has a key that is no plain name, write key: value")
			continue
		}
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		if line, dup := seen[key.Value]; dup {
			s.report(key, at, "is on line %d already", line)
			continue
		}
		seen[key.Value] = key.Line
		f(key, n.Content[i+1], at)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
