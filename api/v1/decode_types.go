package v1

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// isLeaf tells whether encoding/json decodes a value of t in one piece.
func isLeaf(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	if p.Implements(textUnmarshaler) || p.Implements(jsonUnmarshaler) {
		return true
	}
	return t.Kind() != reflect.Struct && t.Kind() != reflect.Slice
}

// fieldsOf lists the members of struct type t under their JSON names, those
// of embedded structs among them.
func (w *walk) fieldsOf(t reflect.Type) map[string]field {
	if known, ok := w.fields[t]; ok {
		return known
	}
	known := map[string]field{}
	collect(t, known)
	w.fields[t] = known
	return known
}

func collect(t reflect.Type, into map[string]field) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			collect(f.Type, into)
		default:
			if name == "" {
				name = f.Name
			}
			into[name] = field{index: uint(len(into)), typ: f.Type}
		}
	}
}

// suggest names the field that differs from name by case only.
func suggest(name string, known map[string]field) string {
	for k := range known {
		if strings.EqualFold(k, name) {
			return ", did you mean " + k + "?"
		}
	}
	return ""
}

// kindOf names the JSON kind of a value by its first byte.
func kindOf(first byte) string {
	switch first {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// nameOf names a leaf type as a person would.
func nameOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "string"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return "whole number of " + t.Kind().String()[4:] + " bits"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "whole number"
	}
	return t.String()
}

// short cuts what goes into a message.
func short(raw []byte) string {
	const most = 40
	if len(raw) <= most {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:most]), "") + "..."
}
