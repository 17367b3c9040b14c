package static

import (
	"context"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Options of a Source. The zero value is right.
type Options struct {
	// Settle is how long the folder must rest before it is read: editors and
	// scripts write in several steps. Optional; zero means 100 ms.
	Settle time.Duration
	// Patience is the longest that a folder which never rests is waited for.
	// Optional; zero means 1 s.
	Patience time.Duration
	// Rescan is how often the folder is looked at where no event comes: it was
	// removed and made anew, or lies on a file system without events.
	// Optional; zero means 2 s.
	Rescan time.Duration
}

// Source watches a folder of manifests.
type Source struct {
	dir  string
	opts Options
}

var _ controller.Source = (*Source)(nil)

// New returns a source of the manifests in dir.
func New(dir string, opts Options) *Source {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&opts.Settle, 100 * time.Millisecond}, {&opts.Patience, time.Second}, {&opts.Rescan, 2 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	return &Source{dir: dir, opts: opts}
}

// String names the folder.
func (s *Source) String() string { return "manifests " + s.dir }

// Run sends an Update at the start and after each change.
func (s *Source) Run(ctx context.Context, updates chan<- controller.Update) error {
	w := newWatch(s.dir)
	defer w.close()
	r := reader{source: s, lib: library{dir: s.dir}}
	if !r.send(ctx, updates, w.problem()) {
		return nil
	}
	rescan := time.NewTicker(s.opts.Rescan)
	defer rescan.Stop()
	settle := time.NewTimer(s.opts.Settle)
	settle.Stop()
	defer settle.Stop()
	var since time.Time // of the first change that was not read yet
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rescan.C:
			w.renew()
			if since.IsZero() && !r.stamp.equal(stampFolder(s.dir)) {
				since = time.Now()
				settle.Reset(s.opts.Settle)
			}
		case <-w.changes():
			if since.IsZero() {
				since = time.Now()
			}
			settle.Reset(min(s.opts.Settle, max(0, s.opts.Patience-time.Since(since))))
		case <-settle.C:
			since = time.Time{}
			if !r.send(ctx, updates, w.problem()) {
				return nil
			}
		}
	}
}

// reader reads the folder and sends what changed.
type reader struct {
	source *Source
	lib    library
	stamp  stamp
	files  map[string]file
	failed string
	sent   bool
}

// send reads the folder and sends an Update where it says something new. It
// returns false when ctx ended.
func (r *reader) send(ctx context.Context, updates chan<- controller.Update, extra []v1.Problem) bool {
	// The stamp is taken first: what changes while reading differs from it.
	r.stamp = stampFolder(r.source.dir)
	files, err := readFolder(r.source.dir)
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	if r.sent && failed == r.failed && sameFiles(files, r.files) {
		return true
	}
	r.lib.load(files, err)
	r.files, r.failed, r.sent = files, failed, true
	u := r.lib.update()
	u.Problems = append(u.Problems, extra...)
	select {
	case updates <- u:
		return true
	case <-ctx.Done():
		return false
	}
}
