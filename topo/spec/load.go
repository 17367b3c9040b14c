package spec

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong in a page.
type Problem struct {
	// Line in the page, from 1; zero when the place is not known.
	Line int
	// Path to the field, as nodes.lb.interfaces.eth1.mtu.
	Path    string
	Message string
}

// Error is everything that is wrong in a page, one line each.
type Error struct {
	File     string
	Problems []Problem
}

// Error prints file:line: path: message for each problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		where := e.File
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", e.File, p.Line)
		}
		if p.Path != "" {
			where += ": " + p.Path
		}
		lines = append(lines, where+": "+p.Message)
	}
	return strings.Join(lines, "\n")
}

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Load reads and checks the page at name in fsys, and the files of its
// manifests folder. The error is an *Error when the page itself is wrong.
func Load(fsys fs.FS, name string) (*Page, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	p, err := Parse(name, src)
	if err != nil {
		return nil, err
	}
	if p.Manifests == "" {
		return p, nil
	}
	dir := path.Join(path.Dir(name), p.Manifests)
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("read manifests of page %s: %w", name, err)
	}
	p.ManifestFiles = make(map[string][]byte, len(entries))
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := fs.ReadFile(fsys, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read manifest of page %s: %w", name, err)
		}
		p.ManifestFiles[e.Name()] = b
	}
	return p, nil
}

// Parse reads a page. file is for messages only. The error is an *Error with
// every problem found.
func Parse(file string, src []byte) (*Page, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(src))
	if err := dec.Decode(&doc); err != nil {
		return nil, &Error{file, []Problem{{Message: strings.TrimPrefix(err.Error(), "yaml: ")}}}
	}
	root := doc.Content[0]
	s := newStrict()
	s.check(root, pageType, "")
	if len(s.problems) > 0 {
		return nil, &Error{file, s.problems}
	}
	p := &Page{Source: src}
	if err := root.Decode(p); err != nil {
		return nil, &Error{file, []Problem{{Message: strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " ")}}}
	}
	fillIn(p, root)
	if problems := validate(p); len(problems) > 0 {
		for i := range problems {
			problems[i].Line = s.line(problems[i].Path)
		}
		slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, &Error{file, problems}
	}
	return p, nil
}

// fillIn sets what YAML does not carry by itself: the order of the nodes,
// their names, and values in place of nil.
func fillIn(p *Page, root *yaml.Node) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "nodes" {
			continue
		}
		nodes := root.Content[i+1]
		if nodes.Kind == yaml.AliasNode {
			nodes = nodes.Alias
		}
		for j := 0; j+1 < len(nodes.Content); j += 2 {
			p.Order = append(p.Order, nodes.Content[j].Value)
		}
	}
	for name, n := range p.Nodes {
		if n == nil {
			n = &Node{}
			p.Nodes[name] = n
		}
		n.Name = name
		if n.Interfaces == nil {
			n.Interfaces = map[string]*Interface{}
		}
		for k, i := range n.Interfaces {
			if i == nil {
				n.Interfaces[k] = &Interface{}
			}
		}
	}
	for i := range p.Links {
		if p.Links[i].MTU == 0 {
			p.Links[i].MTU = DefaultMTU
		}
	}
	if p.Vars == nil {
		p.Vars = map[string]string{}
	}
}
