package static

import (
	"os"
	"slices"

	"github.com/fsnotify/fsnotify"

	v1 "github.com/weir-lb/weir/api/v1"
)

// watch gives a sign when something in a folder changed. Where the kernel has
// no watch left for us it gives none, and Source.Run's rescan is all there is.
type watch struct {
	dir     string
	watcher *fsnotify.Watcher // nil without watches
	err     error
	folder  os.FileInfo // that is watched, nil for none
	signs   chan struct{}
	done    chan struct{}
}

func newWatch(dir string) *watch {
	w := &watch{dir: dir, signs: make(chan struct{}, 1), done: make(chan struct{})}
	w.watcher, w.err = fsnotify.NewWatcher()
	if w.err != nil {
		close(w.done)
		return w
	}
	go w.forward()
	w.renew()
	return w
}

// forward turns events into signs until close; many events are one sign.
func (w *watch) forward() {
	defer close(w.done)
	for {
		select {
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if e.Op == fsnotify.Chmod {
				continue
			}
		case _, ok := <-w.watcher.Errors:
			// An overflow: events were lost, so something changed.
			if !ok {
				return
			}
		}
		select {
		case w.signs <- struct{}{}:
		default:
		}
	}
}

func (w *watch) changes() <-chan struct{} { return w.signs }

// renew watches the folder that has the name now: the kernel watches an inode,
// and a folder made anew is another one.
func (w *watch) renew() {
	if w.watcher == nil {
		return
	}
	info, err := os.Stat(w.dir)
	if err != nil {
		w.folder = nil
		return
	}
	// A folder made anew may get the inode of the removed one, whose watch the
	// kernel dropped; the list knows.
	if w.folder != nil && os.SameFile(w.folder, info) && slices.Contains(w.watcher.WatchList(), w.dir) {
		return
	}
	_ = w.watcher.Remove(w.dir)
	if w.err = w.watcher.Add(w.dir); w.err == nil {
		w.folder = info
	}
}

// problem tells that changes are seen late.
func (w *watch) problem() []v1.Problem {
	if w.err == nil {
		return nil
	}
	return []v1.Problem{{
		Object: w.dir, Reason: ReasonNotWatched,
		Message: "changes are seen late: " + w.err.Error() + "; raise fs.inotify.max_user_watches and max_user_instances",
	}}
}

// close ends the watch and waits for its goroutine.
func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
	<-w.done
}
