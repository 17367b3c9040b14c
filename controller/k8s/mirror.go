package k8s

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kind is one of those that a Source watches, by its resource name.
type kind string

const (
	services       kind = "services"
	endpointSlices kind = "endpointslices"
	nodes          kind = "nodes"
)

var kinds = []kind{services, endpointSlices, nodes}

// mirror is what is believed of the cluster. What a watch shows is believed at
// once, also that an object was deleted. An object that a new list lacks, and
// that nobody was seen to delete, is doubted: it stays until the apiserver says
// of it by name that it is gone; and where more than half of a kind is missing,
// until it has been so for a while, because a cluster that has lost that much
// is more likely one that is being restored.
//
// It is told by the informers' handlers and nothing reads the informers' own
// stores: those forget an object before a handler hears of it. Its methods are
// safe for concurrent use; the objects are read only.
type mirror struct {
	mu    sync.Mutex
	kinds map[kind]*view
}

// view is the mirror of one kind; objects by namespace/name.
type view struct {
	objects map[string]metav1.Object
	doubted map[string]time.Time // since when
}

func newMirror() *mirror {
	m := &mirror{kinds: map[kind]*view{}}
	for _, k := range kinds {
		m.kinds[k] = &view{objects: map[string]metav1.Object{}, doubted: map[string]time.Time{}}
	}
	return m
}

// put takes an object as it is now.
func (m *mirror) put(k kind, o metav1.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.kinds[k]
	v.objects[keyOf(o)] = o
	delete(v.doubted, keyOf(o))
}

// deleted takes the end of an object.
func (m *mirror) deleted(k kind, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kinds[k].objects, key)
	delete(m.kinds[k].doubted, key)
}

// missing takes that a list lacks an object.
func (m *mirror) missing(k kind, key string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.kinds[k]
	if _, known := v.objects[key]; known {
		v.doubted[key] = now
	}
}

// gone drops a doubted object; false says that it came back meanwhile.
func (m *mirror) gone(k kind, key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.kinds[k]
	if _, doubted := v.doubted[key]; !doubted {
		return false
	}
	delete(v.objects, key)
	delete(v.doubted, key)
	return true
}

// due lists the doubted objects that the apiserver may be asked about: where
// more than half of a kind is missing, none before patience is over.
func (m *mirror) due(k kind, now time.Time, patience time.Duration) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.kinds[k]
	keys := make([]string, 0, len(v.doubted))
	newest := time.Time{}
	for key, since := range v.doubted {
		keys = append(keys, key)
		if since.After(newest) {
			newest = since
		}
	}
	if 2*len(keys) > len(v.objects) && now.Sub(newest) < patience {
		return nil
	}
	slices.Sort(keys)
	return keys
}

// get returns an object by its key, nil where there is none.
func (m *mirror) get(k kind, key string) metav1.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kinds[k].objects[key]
}

func (m *mirror) doubts(k kind) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kinds[k].doubted)
}

// count says how many objects of a kind pass, doubted ones with them.
func (m *mirror) count(k kind, passes func(metav1.Object) bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, o := range m.kinds[k].objects {
		if passes(o) {
			n++
		}
	}
	return n
}

// list returns the objects of a kind in the order of their names, so that equal
// clusters make equal snapshots.
func list[T metav1.Object](m *mirror, k kind) []T {
	m.mu.Lock()
	out := make([]T, 0, len(m.kinds[k].objects))
	for _, o := range m.kinds[k].objects {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(out, func(a, b T) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return out
}

// keyOf is namespace/name, and the name alone where there is no namespace.
func keyOf(o metav1.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}
