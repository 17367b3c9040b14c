package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConstants(t *testing.T) {
	for _, row := range []struct {
		says, source string
		rows         [][]string
		err          string
	}{
		{"a comment behind, under that of a group", "const (\n\t// Group.\n\tReasonA = \"A\" // Means a.\n)", [][]string{{"`A`", "Means a."}}, ""},
		{"a comment above", "// ReasonA is of v1.ConditionB: a; do\n// that.\nconst ReasonA = \"A\"", [][]string{{"`A`", "Of `B`: a; do that."}}, ""},
		{"of the type", "const (\n\tA Reason = \"A\" // Means a | b.\n)", [][]string{{"`A`", `Means a \| b.`}}, ""},
		{"others are left out", "const other = 1", nil, ""},
		{"no comment", "const ReasonA = \"A\"", [][]string{{"`A`", ""}}, "ReasonA has no comment"},
		{"a value that is computed", "const ReasonA = b // Means a.", [][]string{{"``", "Means a."}}, "is no literal"},
	} {
		t.Run(row.says, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "a.go"), []byte("package a\n\n"+row.source+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			rows, err := constants(folder, reasons)
			if diff := cmp.Diff(row.rows, rows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Errorf("got error %v, want %q", err, row.err)
			}
		})
	}
}
