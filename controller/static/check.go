package static

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fault is a value that does not fit its field.
type fault struct {
	line    int
	path    string // spec.ports[0].nodePort
	message string
}

// checker holds a YAML tree against a Go type and names every field that is
// unknown, double or of the wrong kind, with its line. The JSON decoders stop
// at the first one, know no lines, and name paths without indexes.
type checker struct{ faults []fault }

func (c *checker) fault(n *yaml.Node, path, format string, args ...any) {
	c.faults = append(c.faults, fault{n.Line, strings.TrimPrefix(path, "."), fmt.Sprintf(format, args...)})
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (c *checker) check(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case isNull(n): // as if absent
	case reflect.PointerTo(t).Implements(unmarshaler):
		c.checkUnmarshaler(n, t, path)
	case t.Kind() == reflect.Pointer:
		c.check(n, t.Elem(), path)
	case t.Kind() == reflect.Struct:
		c.checkStruct(n, t, path)
	case t.Kind() == reflect.Map:
		c.checkMap(n, t, path)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		c.checkSlice(n, t, path)
	case t.Kind() != reflect.Interface:
		c.checkScalar(n, t, path)
	}
}

// checkDoubles names keys that a mapping has twice. It follows no aliases, so
// it is linear in the text and can come before anything is expanded.
func (c *checker) checkDoubles(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, e := range n.Content {
			c.checkDoubles(e, fmt.Sprintf("%s[%d]", path, i))
		}
	case yaml.MappingNode:
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, at := n.Content[i], path+"."+n.Content[i].Value
			if line, double := seen[key.Value]; double {
				c.fault(key, at, "is in line %d already; remove one", line)
			}
			seen[key.Value] = key.Line
			c.checkDoubles(n.Content[i+1], at)
		}
	}
}

// checkUnmarshaler tries types that read their own JSON: times, quantities,
// numbers that may be names.
func (c *checker) checkUnmarshaler(n *yaml.Node, t reflect.Type, path string) {
	text, err := toJSON(n)
	if err == nil {
		err = json.Unmarshal(text, reflect.New(t).Interface())
	}
	if err != nil {
		c.fault(n, path, "%s cannot be read: %v", describe(n), err)
	}
}

func (c *checker) checkStruct(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.MappingNode {
		c.fault(n, path, "is %s, must be a mapping", describe(n))
		return
	}
	fields := jsonFields(t)
	c.eachPair(n, path, func(key, value *yaml.Node) {
		ft, known := fields[key.Value]
		if !known {
			c.fault(key, path+"."+key.Value, "unknown field%s", suggest(key.Value, fields))
			return
		}
		c.check(value, ft, path+"."+key.Value)
	})
}

func (c *checker) checkMap(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.MappingNode {
		c.fault(n, path, "is %s, must be a mapping", describe(n))
		return
	}
	c.eachPair(n, path, func(key, value *yaml.Node) {
		c.check(value, t.Elem(), path+"["+key.Value+"]")
	})
}

// eachPair visits a mapping's pairs, those merged into it (<<) too.
func (c *checker) eachPair(n *yaml.Node, path string, visit func(key, value *yaml.Node)) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			c.eachMerged(value, path, visit)
			continue
		}
		visit(key, value)
	}
}

func (c *checker) eachMerged(n *yaml.Node, path string, visit func(key, value *yaml.Node)) {
	switch n.Kind {
	case yaml.AliasNode:
		c.eachMerged(n.Alias, path, visit)
	case yaml.SequenceNode:
		for _, e := range n.Content {
			c.eachMerged(e, path, visit)
		}
	case yaml.MappingNode:
		c.eachPair(n, path, visit)
	}
}

func (c *checker) checkSlice(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.SequenceNode {
		c.fault(n, path, "is %s, must be a list", describe(n))
		return
	}
	for i, e := range n.Content {
		c.check(e, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (c *checker) checkScalar(n *yaml.Node, t reflect.Type, path string) {
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode {
		c.fault(n, path, "is %s, must be a %s", describe(n), kindName(t))
		return
	}
	switch t.Kind() {
	case reflect.String, reflect.Slice:
		if tag != "!!str" && tag != "!!timestamp" && tag != "!!binary" {
			c.fault(n, path, "is %s, must be a string; put it in quotes", describe(n))
		}
	case reflect.Bool:
		if tag != "!!bool" {
			c.fault(n, path, "is %s, must be true or false", describe(n))
		}
	case reflect.Float32, reflect.Float64:
		if tag != "!!float" && tag != "!!int" {
			c.fault(n, path, "is %s, must be a number", describe(n))
		}
	default:
		if tag != "!!int" {
			c.fault(n, path, "is %s, must be a whole number", describe(n))
		} else if err := n.Decode(reflect.New(t).Interface()); err != nil {
			c.fault(n, path, "%s does not fit %s", n.Value, t.Kind())
		}
	}
}

// jsonFields maps JSON names to the types of a struct's fields, those of
// inlined structs among them.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			for k, v := range jsonFields(f.Type) {
				fields[k] = v
			}
		case name != "" && name != "-":
			fields[name] = f.Type
		}
	}
	return fields
}

// suggest finds the field that was meant where only the case is wrong.
func suggest(key string, fields map[string]reflect.Type) string {
	for name := range fields {
		if strings.EqualFold(name, key) {
			return "; did you mean " + name + "?"
		}
	}
	return "; remove it"
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String, reflect.Slice:
		return "string"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

// describe prints a value's kind, and the value of a scalar.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the boolean " + n.Value
	case "!!null":
		return "empty"
	}
	return fmt.Sprintf("the string %q", n.Value)
}
