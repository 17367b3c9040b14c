package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	description "github.com/weir-lb/weir/api"
	v1 "github.com/weir-lb/weir/api/v1"

	"github.com/weir-lb/weir/agent/openapi"
)

var update = flag.Bool("update", false, "write api/openapi.json anew")

const documentPath = "../../api/openapi.json"

// document generates the description of this server.
func document(t *testing.T) []byte {
	t.Helper()
	docs, err := openapi.ReadDocs("../../api/v1")
	if err != nil {
		t.Fatal(err)
	}
	var routes []openapi.Route
	for _, r := range newServer(dataplane{}, Limits{}).routes() {
		routes = append(routes, openapi.Route{
			Method: r.method, Path: r.path, Summary: r.summary, In: r.in, Out: r.out, Refusals: r.refusals,
		})
	}
	text, err := openapi.Document(openapi.Info{
		Title:   "weir",
		Version: "1",
		Description: "A load balancer node. Owners send what they want of it, whole or as a change; " +
			"everything that a person may see is a GET. Fields that a body may not have are refused, " +
			"fields of an answer may become more.",
		Error: typeOf[v1.Error](),
		Parameters: map[string]openapi.Object{"owner": {
			"type": "string", "pattern": fmt.Sprintf("^[a-z][a-z0-9-]{0,%d}$", v1.MaxOwner-1),
			"description": "Who wants it: controller, netlox, file, or a name of one's own.",
		}},
	}, routes, docs)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOpenAPIDocumentIsThatOfTheCode(t *testing.T) {
	want := document(t)
	if *update {
		if err := os.WriteFile(documentPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(description.OpenAPI, want) {
		t.Errorf("api/openapi.json is not what routes and types say (first difference at byte %d); run: go test ./agent/api -run TestOpenAPI -update",
			firstDifference(description.OpenAPI, want))
	}
	status, got, header := request(newServer(dataplane{}, Limits{}).Handler(), "GET", "/v1/openapi.json", "", "")
	if status != 200 || got != strings.TrimSpace(string(description.OpenAPI)) || header.Get("Content-Type") != "application/json" {
		t.Errorf("served: %d %s", status, header)
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// schema is as much of a JSON schema as the document uses.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 string            `json:"type"`
	OneOf                []schema          `json:"oneOf"`
	Items                *schema           `json:"items"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties *schema           `json:"additionalProperties"`
	Required             []string          `json:"required"`
	Enum                 []string          `json:"enum"`
}

// spec is as much of the document as answers are held against.
type spec struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct {
				Schema schema `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

// fits returns why v is not what s says, empty when it is.
func (d spec) fits(s schema, v any, at string) string {
	if s.Ref != "" {
		target, ok := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		if !ok {
			return at + ": nothing at " + s.Ref
		}
		return d.fits(target, v, at)
	}
	if len(s.OneOf) > 0 {
		for _, one := range s.OneOf {
			if d.fits(one, v, at) == "" {
				return ""
			}
		}
		return at + ": none of its schemas"
	}
	switch v := v.(type) {
	case nil:
		return unless(s.Type == "null", at+": null")
	case bool:
		return unless(s.Type == "boolean", at+": a boolean")
	case float64:
		return unless(s.Type == "integer", at+": a number")
	case string:
		return unless(s.Type == "string" && (len(s.Enum) == 0 || slices.Contains(s.Enum, v)), at+": "+v)
	case []any:
		if s.Type != "array" {
			return at + ": an array"
		}
		for i, e := range v {
			if why := d.fits(*s.Items, e, fmt.Sprintf("%s[%d]", at, i)); why != "" {
				return why
			}
		}
		return ""
	}
	return d.object(s, v.(map[string]any), at)
}

func (d spec) object(s schema, v map[string]any, at string) string {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return at + ": without " + name
		}
	}
	if s.Properties == nil && s.AdditionalProperties == nil {
		return unless(s.Type == "object", at+": an object")
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		member, ok := s.Properties[name]
		switch {
		case !ok && s.AdditionalProperties != nil:
			member = *s.AdditionalProperties
		case !ok:
			return at + ": has " + name
		}
		if why := d.fits(member, v[name], at+"."+name); why != "" {
			return why
		}
	}
	return ""
}

func unless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

// TestAnswersFitTheDocument holds real answers to every route against it.
func TestAnswersFitTheDocument(t *testing.T) {
	var d spec
	if err := json.Unmarshal(document(t), &d); err != nil {
		t.Fatal(err)
	}
	const asJSON = "application/json"
	bodies := map[string]string{
		"PUT":   body(6, badService, goodService),
		"PATCH": change(6, 7, `"upsert":[`+goodService+`],"roles":[{"vip":"192.0.2.1","rank":0,"nodes":1}]`),
	}
	h := newServer(dataplane{}, Limits{}).Handler()
	routes := newServer(dataplane{}, Limits{}).routes()
	// Twice: the second PUT and PATCH meet what the first did, and are refused.
	for range 2 {
		for _, r := range routes {
			path := strings.ReplaceAll(r.path, "{owner}", "controller")
			if r.method == "DELETE" {
				path = strings.ReplaceAll(r.path, "{owner}", "nobody")
			}
			status, got, header := request(h, r.method, path, asJSON, bodies[r.method])
			documented, ok := d.Paths[r.path][strings.ToLower(r.method)].Responses[fmt.Sprint(status)]
			if !ok {
				t.Errorf("%s %s answers %d, which is not documented", r.method, path, status)
				continue
			}
			if r.out == nil {
				continue
			}
			var v any
			if err := json.Unmarshal([]byte(got), &v); err != nil || header.Get("Content-Type") != asJSON {
				t.Fatalf("%s %s: %v", r.method, path, err)
			}
			if why := d.fits(documented.Content[asJSON].Schema, v, "answer"); why != "" {
				t.Errorf("%s %s does not fit: %s\n%s", r.method, path, why, got)
			}
		}
	}
}
