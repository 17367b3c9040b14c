package openapi

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// schemas collects those of named structs, which others refer to.
type schemas struct {
	docs  Docs
	named Object
}

// fixed are the types whose JSON does not follow from their Go.
var fixed = map[reflect.Type]Object{
	reflect.TypeFor[netip.Addr]():     {"type": "string", "examples": []string{"192.0.2.1"}},
	reflect.TypeFor[netip.AddrPort](): {"type": "string", "examples": []string{"192.0.2.1:80"}},
	reflect.TypeFor[netip.Prefix]():   {"type": "string", "examples": []string{"192.0.2.0/24"}},
	reflect.TypeFor[time.Time]():      {"type": "string", "format": "date-time"},
	reflect.TypeFor[time.Duration]():  {"type": "integer", "format": "int64", "description": "nanoseconds"},
	// Somebody else's document.
	reflect.TypeFor[json.RawMessage](): {"type": "object"},
}

// of returns the schema of t, a reference where t is a named struct.
func (s *schemas) of(t reflect.Type) (Object, error) {
	if known, ok := fixed[t]; ok {
		return known, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		items, err := s.of(t.Elem())
		return Object{"type": "array", "items": items}, err
	case reflect.Map:
		values, err := s.of(t.Elem())
		return Object{"type": "object", "additionalProperties": values}, err
	case reflect.Struct:
		return s.reference(t)
	case reflect.String:
		if values := s.docs.Values[t.Name()]; len(values) > 0 {
			return Object{"type": "string", "enum": values}, nil
		}
		return Object{"type": "string"}, nil
	case reflect.Bool:
		return Object{"type": "boolean"}, nil
	}
	return number(t)
}

func number(t reflect.Type) (Object, error) {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return Object{"type": "integer", "format": "int64"}, nil
	case reflect.Uint16:
		return Object{"type": "integer", "minimum": 0, "maximum": math.MaxUint16}, nil
	case reflect.Uint32:
		return Object{"type": "integer", "minimum": 0, "maximum": uint32(math.MaxUint32)}, nil
	case reflect.Uint64:
		return Object{"type": "integer", "minimum": 0, "format": "uint64"}, nil
	}
	return nil, fmt.Errorf("no schema for type %s; add it to package openapi", t)
}

// reference describes struct t once and returns a reference to it.
func (s *schemas) reference(t reflect.Type) (Object, error) {
	ref := Object{"$ref": "#/components/schemas/" + t.Name()}
	if _, ok := s.named[t.Name()]; ok {
		return ref, nil
	}
	described := Object{"type": "object"}
	s.named[t.Name()] = described
	if text := s.docs.Types[t.Name()]; text != "" {
		described["description"] = text
	}
	properties, required := Object{}, []string{}
	if err := s.members(t, properties, &required); err != nil {
		return nil, err
	}
	described["properties"] = properties
	if len(required) > 0 {
		described["required"] = required
	}
	return ref, nil
}

// members adds the fields of t, those of embedded structs among them.
func (s *schemas) members(t reflect.Type, properties Object, required *[]string) error {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			if err := s.members(f.Type, properties, required); err != nil {
				return err
			}
			continue
		}
		schema, err := s.of(f.Type)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t.Name(), f.Name, err)
		}
		properties[name] = s.described(schema, t.Name()+"."+f.Name)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
	return nil
}

// described adds a field's comment to a copy of its schema.
func (s *schemas) described(schema Object, field string) Object {
	text := s.docs.Fields[field]
	if text == "" {
		return schema
	}
	out := Object{"description": text}
	for k, v := range schema {
		if k == "description" {
			v = strings.TrimSuffix(text, ".") + ", in " + v.(string) + "."
		}
		out[k] = v
	}
	return out
}
