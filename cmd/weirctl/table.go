package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// column is one of a table.
type column struct {
	title string
	right bool // align cells to the right
	// flush leaves out the space before the cells, bare the spaces around the
	// title: two columns of the article's table are so.
	flush, bare bool
}

// table is text in the look of `loxicmd get lb`: bars between columns, one
// line under the titles, columns as wide as their content.
type table struct {
	columns []column
	rows    [][]string
}

// add appends a row of one cell a column.
func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table.
func (t *table) write(w io.Writer) error {
	var out strings.Builder
	widths := t.widths()
	for i, c := range t.columns {
		out.WriteString("|" + centre(c.title, widths[i]))
	}
	out.WriteString("|\n")
	for _, width := range widths {
		out.WriteString("|" + strings.Repeat("-", width))
	}
	out.WriteString("|\n")
	for _, row := range t.rows {
		for i, c := range t.columns {
			out.WriteString("|" + c.cell(row[i], widths[i]))
		}
		out.WriteString("|\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// widths counts what stands between the bars.
func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = len(c.title)
		if !c.bare {
			widths[i] += c.padding()
		}
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i])+c.padding())
		}
	}
	return widths
}

func (c column) padding() int {
	if c.flush {
		return 1
	}
	return 2
}

func (c column) cell(text string, width int) string {
	fill := strings.Repeat(" ", width-utf8.RuneCountInString(text)-c.padding())
	lead := strings.Repeat(" ", c.padding()-1)
	if c.right {
		return lead + fill + text + " "
	}
	return lead + text + fill + " "
}

func centre(text string, width int) string {
	left := (width - len(text)) / 2
	return strings.Repeat(" ", left) + text + strings.Repeat(" ", width-len(text)-left)
}
