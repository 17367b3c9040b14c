// Package openapi writes the API down as an OpenAPI 3.1 document, from the
// routes, the Go types of their bodies and the comments on those: what is
// documented is what is compiled.
package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// Route is one method of one path.
type Route struct {
	Method, Path, Summary string
	// In is the type of the body, nil for none; Out that of the answer, nil
	// where it is text.
	In, Out reflect.Type
	// Refusals are the statuses besides 200.
	Refusals []int
}

// Info is what the document says of the API as a whole.
type Info struct {
	Title, Version, Description string
	// Error is the type of every answer that is not 200.
	Error reflect.Type
	// Parameters describe the {names} in paths, each a JSON schema.
	Parameters map[string]Object
}

// Object is a JSON object.
type Object map[string]any

// Document returns the document as indented JSON. The same input gives the
// same bytes.
func Document(info Info, routes []Route, docs Docs) ([]byte, error) {
	s := schemas{docs: docs, named: Object{}}
	paths := map[string]Object{}
	for _, r := range routes {
		op, err := operation(&s, info, r)
		if err != nil {
			return nil, fmt.Errorf("describe %s %s: %w", r.Method, r.Path, err)
		}
		if paths[r.Path] == nil {
			paths[r.Path] = Object{}
		}
		paths[r.Path][strings.ToLower(r.Method)] = op
	}
	text, err := json.MarshalIndent(Object{
		"openapi": "3.1.0",
		"info":    Object{"title": info.Title, "version": info.Version, "description": info.Description},
		"paths":   paths,
		"components": Object{
			"schemas":         s.named,
			"securitySchemes": Object{"certificate": Object{"type": "mutualTLS", "description": "On TCP. The unix socket asks for none."}},
		},
		"security": []Object{{}, {"certificate": []string{}}},
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

func operation(s *schemas, info Info, r Route) (Object, error) {
	good, err := answer(s, r)
	if err != nil {
		return nil, err
	}
	responses := Object{"200": good}
	for _, status := range r.Refusals {
		ref, err := s.of(info.Error)
		if err != nil {
			return nil, err
		}
		responses[strconv.Itoa(status)] = Object{"description": http.StatusText(status), "content": asJSON(ref)}
	}
	op := Object{"operationId": operationID(r), "summary": r.Summary, "responses": responses}
	if r.In != nil {
		body, err := s.of(r.In)
		if err != nil {
			return nil, err
		}
		op["requestBody"] = Object{"required": true, "content": asJSON(body)}
	}
	if params := parameters(info, r.Path); len(params) > 0 {
		op["parameters"] = params
	}
	return op, nil
}

func answer(s *schemas, r Route) (Object, error) {
	if r.Out == nil {
		return Object{"description": r.Summary, "content": Object{"text/plain": Object{"schema": Object{"type": "string"}}}}, nil
	}
	schema, err := s.of(r.Out)
	if err != nil {
		return nil, err
	}
	if r.Out.Kind() == reflect.Pointer {
		schema = Object{"oneOf": []Object{schema, {"type": "null"}}}
	}
	return Object{"description": r.Summary, "content": asJSON(schema)}, nil
}

func asJSON(schema Object) Object {
	return Object{"application/json": Object{"schema": schema}}
}

// parameters describes the {names} in path.
func parameters(info Info, path string) []Object {
	var all []Object
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			all = append(all, Object{"name": name, "in": "path", "required": true, "schema": info.Parameters[name]})
		}
	}
	return all
}

// operationID is putStateOwner for PUT /v1/state/{owner}.
func operationID(r Route) string {
	id := strings.ToLower(r.Method)
	words := strings.FieldsFunc(r.Path, func(c rune) bool { return strings.ContainsRune("/{}.", c) })
	for _, w := range words {
		if w != "v1" {
			id += strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return id
}
