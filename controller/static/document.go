package static

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML document of a file.
type document struct {
	root *yaml.Node // nil where it is empty
	line int        // of its first line, from 1
	err  error      // of its syntax; line is then where
}

// split cuts a file into its documents. Each is parsed by itself, so that a
// syntax error costs one document and not the rest of the file.
func split(data []byte) []document {
	var docs []document
	lines := bytes.SplitAfter(data, []byte("\n"))
	start := 0
	for i := 1; i <= len(lines); i++ {
		if i < len(lines) && !isMarker(lines[i]) {
			continue
		}
		docs = append(docs, parse(bytes.Join(lines[start:i], nil), start))
		start = i
	}
	return docs
}

// isMarker says that a line starts a document. Within a document no such line
// can be: YAML indents what it contains.
func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(bytes.TrimRight(rest, "\r\n")) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// parse reads the document that starts after skipped lines of its file.
func parse(text []byte, skipped int) document {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		line, message := syntaxError(err)
		if strings.Contains(message, "tab character") {
			line = tabLine(text, line)
		}
		// The parser may find out at the end of the text, behind the last line.
		line = min(line, bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))+1)
		return document{line: skipped + max(line, 1), err: errors.New(message)}
	}
	if len(root.Content) == 0 || isNull(root.Content[0]) {
		return document{line: skipped + 1}
	}
	shift(&root, skipped)
	return document{root: root.Content[0], line: root.Content[0].Line}
}

// shift makes the lines those of the file.
func shift(n *yaml.Node, lines int) {
	n.Line += lines
	for _, c := range n.Content {
		shift(c, lines)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(?s)(.*)$`)

// syntaxError takes the parser's error apart: the line, zero if it names none,
// and what is wrong, on one line.
func syntaxError(err error) (int, string) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(m[1])
	message := strings.Join(strings.Fields(m[2]), " ")
	// Of its two halves the scanner counts lines from 1, the parser from 0.
	if line > 0 && strings.HasPrefix(message, "did not find expected") {
		line++
	}
	return line, message
}

// tabLine finds the tab that the parser complains of: it names the line where
// what holds the tab begins.
func tabLine(text []byte, from int) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if i+1 >= from && bytes.ContainsRune(indent, '\t') {
			return i + 1
		}
	}
	return from
}
