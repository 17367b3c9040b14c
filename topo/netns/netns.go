// Package netns makes named network namespaces and runs functions in them.
// The names stand in /run/netns, so that `ip netns exec` works too.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Dir is where named namespaces are mounted, iproute2's choice.
const Dir = "/run/netns"

// NetNS is an open network namespace. It is safe for concurrent use until
// Close. Closing it does not end the namespace; Delete takes its name away.
type NetNS struct {
	name   string
	handle vns.NsHandle
	id     fileID
}

// fileID tells two namespaces apart: nsfs device and inode.
type fileID struct{ dev, ino uint64 }

// New makes a namespace of that name with its loopback down. It fails with
// fs.ErrExist when the name is taken. The caller owns the name and ends it
// with Delete.
func New(name string) (*NetNS, error) {
	if err := prepareDir(); err != nil {
		return nil, err
	}
	var handle vns.NsHandle
	err := onThread(func() error {
		var err error
		handle, err = vns.NewNamed(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", name, err)
	}
	return opened(name, handle)
}

// Open opens the namespace of that name, whoever made it.
func Open(name string) (*NetNS, error) {
	handle, err := vns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", name, err)
	}
	return opened(name, handle)
}

// OfProcess opens the namespace that a process is in, a container's for one. It
// has no name to delete; Name tells of the process.
func OfProcess(pid int) (*NetNS, error) {
	name := fmt.Sprintf("of process %d", pid)
	handle, err := vns.GetFromPid(pid)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", name, err)
	}
	return opened(name, handle)
}

func opened(name string, handle vns.NsHandle) (*NetNS, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(handle), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat namespace %s: %w", name, err), handle.Close())
	}
	return &NetNS{name: name, handle: handle, id: fileID{st.Dev, st.Ino}}, nil
}

// Delete takes the name away. The namespace itself ends with its last process
// and open socket. Deleting an absent name is no error.
func Delete(name string) error {
	path := filepath.Join(Dir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// Name returns the name that New or Open was given.
func (n *NetNS) Name() string { return n.name }

// FD returns the file descriptor, which stays n's own.
func (n *NetNS) FD() int { return int(n.handle) }

// Close closes the file descriptor.
func (n *NetNS) Close() error { return n.handle.Close() }

// Do runs f with the calling thread in the namespace. f runs on a goroutine of
// its own, locked to its thread; goroutines that f starts run elsewhere, so f
// must open its sockets itself.
func (n *NetNS) Do(f func() error) error {
	return onThread(func() error {
		if err := vns.Set(n.handle); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.name, err)
		}
		return f()
	})
}

// Enter moves the calling thread into the namespace for good. The caller has
// locked its goroutine to the thread and never unlocks it.
func (n *NetNS) Enter() error {
	if err := vns.Set(n.handle); err != nil {
		return fmt.Errorf("enter namespace %s: %w", n.name, err)
	}
	return nil
}

// onThread runs f on a fresh goroutine whose thread may change its namespace,
// and brings the thread back afterwards.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The lock stays when the way back fails: Go then ends the thread with
		// the goroutine, where it would otherwise run others' code in a
		// namespace they do not expect.
		runtime.LockOSThread()
		origin, err := vns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open own namespace: %w", err)
			return
		}
		err = f()
		if back := vns.Set(origin); back == nil {
			runtime.UnlockOSThread()
		} else {
			err = errors.Join(err, fmt.Errorf("return to own namespace: %w", back))
		}
		done <- errors.Join(err, origin.Close())
	}()
	return <-done
}

// prepareDir makes Dir a shared mount as `ip netns add` does. Without it a
// later `ip netns add` would lay a second mount over ours, and our names could
// no longer be removed.
func prepareDir() error {
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return fmt.Errorf("create %s: %w", Dir, err)
	}
	unlock, err := lockDir()
	if err != nil {
		return err
	}
	defer unlock()
	err = unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return wrap("share "+Dir, err)
	}
	if err := unix.Mount(Dir, Dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", Dir, err)
	}
	return wrap("share "+Dir, unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, ""))
}

// lockDir keeps two processes from binding Dir over itself at the same time;
// iproute2 takes the same lock.
func lockDir() (unlock func(), err error) {
	d, err := os.Open(Dir)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", Dir, err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", Dir, err), d.Close())
	}
	return func() { _ = d.Close() }, nil
}

func wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", verb, err)
}
