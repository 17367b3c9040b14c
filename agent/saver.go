package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// saver brings the store to the state file. Nil where there is no file.
type saver struct {
	file  *StateFile
	store *Store
	log   *slog.Logger
	pause backoff
	// failed wakes run.
	failed chan struct{}

	// writing is held through a write: whoever waits for it mostly finds that
	// the write before took its change along.
	writing sync.Mutex
	saved   uint64 // revision of the store that is on the disk

	mu      sync.Mutex
	failure string
}

// save returns when the store as it stands, or newer, is on the disk, or when
// that failed; then run tries again. To forward packets as asked matters more
// than to remember it, so nobody is refused for a full disk: a condition tells.
func (s *saver) save() bool {
	if s == nil {
		return true
	}
	want := s.store.Revision()
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.saved >= want {
		return true
	}
	content, revision := s.store.Saved()
	if err := s.file.Save(content); err != nil {
		s.note(err.Error())
		select {
		case s.failed <- struct{}{}:
		default:
		}
		return false
	}
	s.saved = revision
	s.note("")
	return true
}

// run tries again what failed, until ctx ends.
func (s *saver) run(ctx context.Context) error {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.failed:
			if retry == nil {
				retry = time.After(s.pause.next())
			}
		case <-retry:
			retry = nil
			if s.save() {
				s.pause.reset()
			}
		}
	}
}

// note stores why the last write failed, empty when it did not.
func (s *saver) note(failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case failure != "" && failure != s.failure:
		s.log.Warn("state not saved, retrying", "error", failure)
	case failure == "" && s.failure != "":
		s.log.Info("state saved after failures")
	}
	s.failure = failure
}

// problem says why the state on the disk is old, empty when it is not.
func (s *saver) problem() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}
