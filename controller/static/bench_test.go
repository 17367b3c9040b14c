package static

import (
	"strings"
	"testing"
)

// BenchmarkLoad reads 1 000 documents of one file.
func BenchmarkLoad(b *testing.B) {
	text := []byte(strings.Repeat(goodService+"---\n", 1000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		l := library{dir: "dir"}
		l.load(map[string]file{"a.yaml": {data: text}}, nil)
	}
}
