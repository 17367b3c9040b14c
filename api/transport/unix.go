package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SocketMode is what a socket may be used by: its owner and its group.
const SocketMode fs.FileMode = 0o660

// ErrInUse means that a living process listens on the socket already.
var ErrInUse = errors.New("another process listens on it")

// lockWait bounds how long ListenUnix waits for another process that creates
// or removes a socket in the same folder, which takes it milliseconds.
const lockWait = 5 * time.Second

// ListenUnix listens on the unix socket path. The socket appears with
// SocketMode at once: nobody can connect to it before. A socket that a dead
// process left is replaced; one that somebody listens on is ErrInUse. The
// folder is made when it is missing. Close removes the socket, and the folder
// if ListenUnix made it and it is empty.
func ListenUnix(ctx context.Context, path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	_, missing := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create socket folder: %w", err)
	}
	l := &unixListener{path: path, ownDir: errors.Is(missing, fs.ErrNotExist)}
	err := locked(ctx, dir, func() error {
		if err := vacant(path); err != nil {
			return err
		}
		return l.bind(dir)
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// vacant returns nil when path may be taken.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("exists and is no socket; remove it or choose another path")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%w; stop it or choose another path", ErrInUse)
	}
	// Only a refused connection proves that nobody is there: a full backlog,
	// for one, is EAGAIN.
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%w, it seems (%s); stop it or choose another path", ErrInUse, err)
}

// unixListener is a unix socket under a name that it was not bound to.
type unixListener struct {
	*net.UnixListener
	path   string
	inode  uint64
	ownDir bool
	once   sync.Once
}

// bind listens in a folder that nobody else may enter, sets the mode, and only
// then moves the socket to its place.
func (l *unixListener) bind(dir string) error {
	private, err := os.MkdirTemp(dir, ".socket-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(private)
	hidden := filepath.Join(private, "s")
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return err
	}
	inner.SetUnlinkOnClose(false)
	l.UnixListener = inner
	if err := l.publish(hidden); err != nil {
		inner.Close()
		return err
	}
	return nil
}

func (l *unixListener) publish(hidden string) error {
	if err := os.Chmod(hidden, SocketMode); err != nil {
		return err
	}
	inode, err := inodeOf(hidden)
	if err != nil {
		return err
	}
	l.inode = inode
	return os.Rename(hidden, l.path)
}

// Addr returns the public path, not the one that was bound.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close ends Accept and removes the socket if it is still this one.
func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	l.once.Do(func() {
		dir := filepath.Dir(l.path)
		// Without the lock the socket may stay; the next start replaces it.
		_ = locked(context.Background(), dir, func() error {
			if inode, ierr := inodeOf(l.path); ierr == nil && inode == l.inode {
				return os.Remove(l.path)
			}
			return nil
		})
		if l.ownDir {
			os.Remove(dir) // fails, as it should, when others use it
		}
	})
	return err
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// locked runs f while no other process that uses this package creates or
// removes a socket in dir.
func locked(ctx context.Context, dir string, f func() error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // gives the lock back
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("lock %s: another process holds it: %w", dir, ctx.Err())
		}
	}
}
