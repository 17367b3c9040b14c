package openapi

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Docs is what the source says beside the types.
type Docs struct {
	// Types holds the comment of each type, Fields that of each field under
	// Type.Field.
	Types, Fields map[string]string
	// Values holds the constants of each string type, in order.
	Values map[string][]string
}

// ReadDocs reads the Go files of one folder, those of tests left out.
func ReadDocs(dir string) (Docs, error) {
	d := Docs{Types: map[string]string{}, Fields: map[string]string{}, Values: map[string][]string{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return d, err
	}
	if len(files) == 0 {
		return d, fmt.Errorf("read comments of %s: %w", dir, os.ErrNotExist)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return d, fmt.Errorf("read comments: %w", err)
		}
		for _, decl := range file.Decls {
			if group, ok := decl.(*ast.GenDecl); ok {
				d.group(group)
			}
		}
	}
	return d, nil
}

// group takes in a declaration of types or constants.
func (d Docs) group(group *ast.GenDecl) {
	for _, spec := range group.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			doc := spec.Doc
			if doc == nil {
				doc = group.Doc
			}
			d.Types[spec.Name.Name] = line(doc)
			if body, ok := spec.Type.(*ast.StructType); ok {
				d.fields(spec.Name.Name, body)
			}
		case *ast.ValueSpec:
			d.values(spec)
		}
	}
}

func (d Docs) fields(owner string, body *ast.StructType) {
	for _, f := range body.Fields.List {
		for _, name := range f.Names {
			if text := line(f.Doc); text != "" {
				d.Fields[owner+"."+name.Name] = text
			}
		}
	}
}

// values takes in constants that say their type and are a string literal.
func (d Docs) values(spec *ast.ValueSpec) {
	typ, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, v := range spec.Values {
		if literal, ok := v.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				d.Values[typ.Name] = append(d.Values[typ.Name], text)
			}
		}
	}
}

// line is a comment on one line.
func line(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
