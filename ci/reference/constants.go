package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// section is a table of constants: those of folders whose names match, or that are
// of a type Reason.
type section struct {
	title, head string
	folders     []string
	names       *regexp.Regexp
}

var reasons = regexp.MustCompile(`^[Rr]eason[A-Z]`)

var sections = []section{
	{"\n## Conditions\n\nOn Services they carry the prefix `weir-lb.io/`; on nodes `weirctl get nodes`, `weirctl get lb` and the API show them.\n",
		"Condition", []string{"api/v1"}, regexp.MustCompile(`^Condition[A-Z]`)},
	{"\n### Reasons on Services\n\nThose of `weir-lb.io/Programmed` are also those of nodes, below.\n", "Reason", []string{"controller/decide"}, reasons},
	{"\n### Reasons on nodes: what was asked for\n", "Reason", []string{"agent"}, reasons},
	{"\n### Reasons on nodes: forwarding\n", "Reason",
		[]string{"dataplane", "dataplane/plan", "dataplane/flow", "dataplane/hook"}, reasons},
	{"\n### Reasons on nodes: BGP and routes\n", "Reason", []string{"bgp/node", "bgp/fib"}, reasons},
}

func (s section) print() (string, error) {
	var rows [][]string
	var errs []error
	for _, folder := range s.folders {
		found, err := constants(folder, s.names)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s has no such constant any more; see ci/reference", folder)
		}
		rows, errs = append(rows, found...), append(errs, err)
	}
	return s.title + "\n" + table([]string{s.head, "Meaning, and what to do"}, rows), errors.Join(errs...)
}

// constants are the values and comments of a section's constants in one folder.
// One without a comment is an error.
func constants(folder string, names *regexp.Regexp) ([][]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var rows [][]string
	var errs []error
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range parsed.Decls {
			block, ok := d.(*ast.GenDecl)
			if !ok || block.Tok != token.CONST {
				continue
			}
			for _, s := range block.Specs {
				spec := s.(*ast.ValueSpec)
				name := spec.Names[0].Name
				kind, _ := spec.Type.(*ast.Ident)
				if !names.MatchString(name) && (kind == nil || kind.Name != "Reason") {
					continue
				}
				if !block.Lparen.IsValid() {
					spec.Doc = block.Doc
				}
				comment := meaning(name, spec)
				if comment == "" {
					errs = append(errs, fmt.Errorf("%s: %s has no comment; say what it means, and what a person does", file, name))
				}
				value, err := text(spec.Values[0])
				errs = append(errs, err)
				rows = append(rows, []string{code(value), comment})
			}
		}
	}
	return rows, errors.Join(errs...)
}

// weirsCondition is how comments name a condition.
var weirsCondition = regexp.MustCompile(`\bv1\.Condition(\w+)`)

// meaning is the comment behind a constant, or else the one above it without the
// constant's name: what stands above one that has both is of those below, too.
func meaning(name string, spec *ast.ValueSpec) string {
	comment := spec.Comment.Text()
	if comment == "" {
		comment = strings.TrimPrefix(spec.Doc.Text(), name)
		comment = strings.TrimPrefix(strings.TrimPrefix(comment, ":"), " is")
	}
	comment = strings.Join(strings.Fields(comment), " ")
	comment = weirsCondition.ReplaceAllString(comment, "`$1`")
	if comment != "" {
		comment = strings.ToUpper(comment[:1]) + comment[1:]
	}
	return strings.ReplaceAll(comment, "|", `\|`)
}

func text(e ast.Expr) (string, error) {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return "", errors.New("a constant, or an entry of unserved flags, is no literal; write it out")
	}
	return strconv.Unquote(literal.Value)
}

// unservedFlags reads the literal of that name, a map from flag to advice.
func unservedFlags(file string) ([][]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	var errs []error
	ast.Inspect(parsed, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if ok {
			flag, wrong := text(pair.Key)
			advice, bad := text(pair.Value)
			errs = append(errs, wrong, bad)
			rows = append(rows, []string{code("--" + flag), advice})
		}
		return true
	})
	return rows, errors.Join(errs...)
}
