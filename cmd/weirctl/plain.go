package main

import (
	"io"
	"strings"
	"text/tabwriter"
)

// plain is a table in the look of kubectl: columns three spaces apart.
type plain struct {
	titles []string
	rows   [][]string
}

func (t *plain) write(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range append([][]string{t.titles}, t.rows...) {
		if _, err := io.WriteString(out, strings.Join(row, "\t")+"\n"); err != nil {
			return err
		}
	}
	return out.Flush()
}
