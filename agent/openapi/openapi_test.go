package openapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

type colour string

type inner struct {
	Port uint16 `json:"port"`
}

type outer struct {
	inner
	Colour colour  `json:"colour"`
	Next   *outer  `json:"next,omitempty"`
	Many   []inner `json:"many,omitzero"`
}

const source = `package x

// outer is a thing
// of two lines.
type outer struct {
	// Colour of it.
	Colour colour
}

const (
	red  colour = "red"
	blue colour = "blue"
	size        = 3
)
`

// read writes source to a folder and reads its comments.
func read(t *testing.T, source string) (Docs, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadDocs(dir)
}

func TestDocument(t *testing.T) {
	docs, err := read(t, source)
	if err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[outer]()
	info := Info{Title: "x", Version: "1", Error: reflect.TypeFor[inner](), Parameters: map[string]Object{"id": {"type": "string"}}}
	text, err := Document(info, []Route{
		{Method: "PUT", Path: "/v1/things/{id}", Summary: "Replace", In: typ, Out: reflect.PointerTo(typ), Refusals: []int{409}},
		{Method: "GET", Path: "/text", Summary: "Read"},
	}, docs)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Fatalf("not JSON: %s", text)
	}
	got := strings.Join(strings.Fields(string(text)), "")
	for _, part := range []string{
		`"outer":{"description":"outerisathingoftwolines.","properties":{`,
		`"colour":{"description":"Colourofit.","enum":["red","blue"],"type":"string"}`,
		`"next":{"$ref":"#/components/schemas/outer"}`,
		`"many":{"items":{"$ref":"#/components/schemas/inner"},"type":"array"}`,
		`"port":{"maximum":65535,"minimum":0,"type":"integer"}`,
		`"required":["port","colour"]`,
		`"operationId":"putThingsId"`,
		`"parameters":[{"in":"path","name":"id","required":true,"schema":{"type":"string"}}]`,
		`"oneOf":[{"$ref":"#/components/schemas/outer"},{"type":"null"}]`,
		`"409":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/inner"}}},"description":"Conflict"}`,
		`"200":{"content":{"text/plain":{"schema":{"type":"string"}}},"description":"Read"}`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in\n%s", part, text)
		}
	}
}

func TestWhatCannotBeDescribedIsAnError(t *testing.T) {
	type odd struct {
		C chan int `json:"c"`
	}
	_, err := Document(Info{}, []Route{{Method: "GET", Path: "/", Out: reflect.TypeFor[odd]()}}, Docs{})
	if err == nil || err.Error() != "describe GET /: odd.C: no schema for type chan int; add it to package openapi" {
		t.Errorf("got %v", err)
	}
	if _, err := read(t, "package"); err == nil {
		t.Error("broken source was read")
	}
	if _, err := ReadDocs(t.TempDir()); err == nil {
		t.Error("an empty folder was read")
	}
}
