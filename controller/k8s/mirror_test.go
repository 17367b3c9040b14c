package k8s

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func someNode(i int) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%d", i)}}
}

// fill makes a mirror of ten nodes of which the first few are missing.
func fill(missing int, at time.Time) *mirror {
	m := newMirror()
	for i := range 10 {
		m.put(nodes, someNode(i))
	}
	for i := range missing {
		m.missing(nodes, fmt.Sprintf("n%d", i), at)
	}
	return m
}

func TestWhatMayBeAskedAbout(t *testing.T) {
	begin := time.Unix(1000, 0)
	for _, row := range []struct {
		says    string
		missing int
		after   time.Duration
		due     int
	}{
		{"nothing is missing", 0, 0, 0},
		{"one is, and is asked about at once", 1, 0, 1},
		{"half are", 5, 0, 5},
		{"more than half: a cluster that is being restored", 6, 59 * time.Second, 0},
		{"all", 10, 59 * time.Second, 0},
		{"all, for long enough", 10, time.Minute, 10},
	} {
		m := fill(row.missing, begin)
		if got := m.due(nodes, begin.Add(row.after), time.Minute); len(got) != row.due {
			t.Errorf("%s: due are %q, want %d", row.says, got, row.due)
		}
		if got := len(list[*corev1.Node](m, nodes)); got != 10 {
			t.Errorf("%s: the snapshot has %d nodes, want all 10", row.says, got)
		}
	}
}

func TestDoubtsEnd(t *testing.T) {
	m := fill(3, time.Unix(1000, 0))
	m.put(nodes, someNode(0))
	if m.gone(nodes, "n0") {
		t.Error("an object that came back was dropped by the answer about its absence")
	}
	if !m.gone(nodes, "n1") || m.gone(nodes, "n1") {
		t.Error("an object that is gone is dropped once")
	}
	m.deleted(nodes, "n2")
	m.missing(nodes, "n7x", time.Unix(1000, 0)) // nobody knew it
	if m.doubts(nodes) != 0 {
		t.Errorf("%d doubts are left", m.doubts(nodes))
	}
	var names []string
	for _, n := range list[*corev1.Node](m, nodes) {
		names = append(names, n.Name)
	}
	if want := []string{"n0", "n3", "n4", "n5", "n6", "n7", "n8", "n9"}; !slices.Equal(names, want) {
		t.Errorf("left are %q, want %q", names, want)
	}
}

// TestFreshProcessWaitsForWhatTheLastSaw holds back a process that has no object
// of before to keep: the apiserver lists much less than it did.
func TestFreshProcessWaitsForWhatTheLastSaw(t *testing.T) {
	source := func(expect Counts) *Source {
		c := &Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}
		s := c.NewSource(SourceOptions{Expect: expect})
		for i := range 4 {
			s.mirror.put(nodes, someNode(i))
		}
		return s
	}
	for _, row := range []struct {
		says   string
		expect Counts
		comes  int // objects, after 10 s
		took   time.Duration
	}{
		{"nobody knows how many there were", nil, 0, 0},
		{"as many", Counts{"nodes": 4}, 0, 0},
		{"half", Counts{"nodes": 8}, 0, 0},
		{"less than half, and it stays so", Counts{"nodes": 9}, 0, time.Minute},
		{"less than half, and the rest comes", Counts{"nodes": 20}, 10, 10 * time.Second},
		{"no service at all", Counts{"nodes": 4, "services": 1}, 0, time.Minute},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, began := source(row.expect), time.Now()
				time.AfterFunc(10*time.Second, func() {
					for i := range row.comes {
						s.mirror.put(nodes, someNode(10+i))
					}
				})
				if !s.awaitExpected(t.Context()) {
					t.Error("it says that its context ended")
				}
				if took := time.Since(began); took < row.took || took > row.took+time.Second {
					t.Errorf("waited %s, want %s", took, row.took)
				}
			})
		})
	}
}

func TestCountsAreWrittenSeldom(t *testing.T) {
	for _, row := range []struct {
		before, now int
		moved       bool
	}{{0, 0, false}, {0, 1, true}, {1, 0, true}, {1, 2, true}, {100, 150, false}, {100, 200, true}, {100, 51, false}, {100, 50, true}} {
		if got := moved(Counts{"services": row.before}, Counts{"services": row.now}); got != row.moved {
			t.Errorf("%d to %d: written %v, want %v", row.before, row.now, got, row.moved)
		}
	}
}
