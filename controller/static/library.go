package static

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Reasons of a Problem.
const (
	ReasonInvalidManifest   = "InvalidManifest"
	ReasonUnreadableFile    = "UnreadableFile"
	ReasonDuplicateManifest = "DuplicateManifest"
	ReasonNoFolder          = "NoFolder"
	ReasonNotWatched        = "NotWatched"
)

// library remembers what each file said when it was last understood.
type library struct {
	dir   string
	files map[string]page
	// folder says why the folder cannot be read, empty while it can.
	folder string
}

// page is what a file says.
type page struct {
	objects  []object
	problems []v1.Problem
	skipped  []string
}

// file is a file as it was read.
type file struct {
	data []byte
	err  error
}

// load takes the folder's files in; err says that the folder itself cannot be
// read, and then everything stands as it was.
func (l *library) load(files map[string]file, err error) {
	l.folder = ""
	if err != nil {
		l.folder = err.Error()
		return
	}
	pages := make(map[string]page, len(files))
	for name, f := range files {
		p := l.read(name, f)
		if len(p.problems) > 0 {
			p.objects = append(p.objects, missing(l.files[name].objects, p.objects)...)
		}
		pages[name] = p
	}
	l.files = pages
}

// missing lists the old objects that are not among the new ones.
func missing(old, now []object) []object {
	var out []object
	for _, o := range old {
		if !slices.ContainsFunc(now, func(n object) bool { return n.id == o.id }) {
			out = append(out, o)
		}
	}
	return out
}

func (l *library) read(name string, f file) page {
	var p page
	if f.err != nil {
		p.problem(filepath.Join(l.dir, name), ReasonUnreadableFile, f.err.Error())
		return p
	}
	for _, doc := range split(f.data) {
		if doc.err != nil {
			p.problem(l.place(name, doc.line), ReasonInvalidManifest, "not YAML: "+doc.err.Error())
			continue
		}
		if doc.root == nil {
			continue
		}
		d := decode(doc.root)
		for _, f := range d.faults {
			message := f.message
			if f.path != "" {
				message = f.path + ": " + message
			}
			p.problem(l.place(name, f.line), ReasonInvalidManifest, message)
		}
		p.objects = append(p.objects, d.objects...)
		p.skipped = append(p.skipped, d.skipped...)
	}
	return p
}

func (p *page) problem(object, reason, message string) {
	p.problems = append(p.problems, v1.Problem{Object: object, Reason: reason, Message: message})
}

func (l *library) place(name string, line int) string {
	return fmt.Sprintf("%s:%d", filepath.Join(l.dir, name), line)
}

// update puts the pages together, in the order of the files' names. An object
// that two manifests give counts as the first one says.
func (l *library) update() controller.Update {
	var u controller.Update
	if l.folder != "" {
		u.Problems = append(u.Problems, v1.Problem{
			Object: l.dir, Reason: ReasonNoFolder, Message: l.folder + "; everything stands as it was read last",
		})
	}
	first := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		p := l.files[name]
		u.Problems = append(u.Problems, p.problems...)
		u.Skipped = append(u.Skipped, p.skipped...)
		for _, o := range p.objects {
			place := l.place(name, o.line)
			if other, double := first[o.id]; double {
				u.Problems = append(u.Problems, v1.Problem{
					Object: place, Reason: ReasonDuplicateManifest, Message: fmt.Sprintf("%s is in %s already, which counts; remove one", o.id, other),
				})
				continue
			}
			first[o.id] = place
			add(&u.Snapshot, o)
		}
	}
	u.Snapshot.Incomplete = slices.ContainsFunc(u.Problems, func(p v1.Problem) bool { return p.Reason != ReasonDuplicateManifest })
	return u
}

func add(s *controller.Snapshot, o object) {
	switch v := o.value.(type) {
	case *corev1.Service:
		s.Services = append(s.Services, v)
	case *corev1.Node:
		s.Nodes = append(s.Nodes, v)
	case *discoveryv1.EndpointSlice:
		s.Slices = append(s.Slices, v)
	}
}
