package static

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
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
	// The parser reads UTF-16 too, in which no line would be found here. Of UTF-8 this takes the byte order mark away.
	if decoded, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), data); err == nil {
		data = decoded
	}
	var docs []document
	begin, skipped := 0, 0 // bytes and lines before the document
	at, n := 0, 0
	for line := range lines(data) {
		if at > 0 && isMarker(line) {
			docs = append(docs, parse(data[begin:at], skipped)...)
			begin, skipped = at, n
		}
		at += len(line)
		n++
	}
	return append(docs, parse(data[begin:], skipped)...)
}

// Line breaks of YAML 1.1 beside those that everybody knows. The parser counts by
// them, and begins documents behind them.
const (
	nextLine           = "\u0085"
	lineSeparator      = "\u2028"
	paragraphSeparator = "\u2029"
	lineBreaks         = "\r\n" + nextLine + lineSeparator + paragraphSeparator
)

// lines are a text's, each with the line break that ends it.
func lines(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(text) > 0 {
			n := lengthOfLine(text)
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

// lengthOfLine counts the bytes of a text's first line, its line break among them.
func lengthOfLine(text []byte) int {
	for i, c := range text {
		switch c {
		case '\n':
			return i + 1
		case '\r':
			if bytes.HasPrefix(text[i:], []byte("\r\n")) {
				return i + 2
			}
			return i + 1
		case nextLine[0], lineSeparator[0]:
			for _, wide := range []string{nextLine, lineSeparator, paragraphSeparator} {
				if bytes.HasPrefix(text[i:], []byte(wide)) {
					return i + len(wide)
				}
			}
		}
	}
	return len(text)
}

// isMarker says that a line starts a document. Within a document no such line
// can be: YAML indents what it contains.
func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(bytes.TrimRight(rest, lineBreaks)) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// parse reads the document that starts after skipped lines of its file. Of what
// follows it without a marker, as JSON does that was put together, nothing is lost:
// the parser says that it is no document, or what it is.
func parse(text []byte, skipped int) []document {
	var docs []document
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		switch {
		case errors.Is(err, io.EOF):
			return docs
		case err != nil:
			line, message := syntaxError(err)
			if strings.Contains(message, "tab character") {
				line = tabLine(text, line)
			}
			if len(docs) > 0 && message == "did not find expected <document start>" {
				message = "another document begins without a line --- before it"
			}
			// The parser may find out at the end of the text, behind the last line.
			line = min(line, count(lines(bytes.TrimRight(text, lineBreaks))))
			return append(docs, document{line: skipped + max(line, 1), err: errors.New(message)})
		case len(root.Content) == 0 || isNull(root.Content[0]):
			docs = append(docs, document{line: skipped + 1})
		default:
			shift(&root, skipped)
			docs = append(docs, document{root: root.Content[0], line: root.Content[0].Line})
		}
	}
}

func count[T any](seq iter.Seq[T]) (n int) {
	for range seq {
		n++
	}
	return n
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
	n := 0
	for line := range lines(text) {
		n++
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if n >= from && bytes.ContainsRune(indent, '\t') {
			return n
		}
	}
	return from
}
