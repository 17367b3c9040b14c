package leaktest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holdings is what a process has of the kernel, by a name for people; the number
// is how many have that name.
type holdings map[string]int

// hold lists what this process has now.
func hold() (holdings, error) {
	h := holdings{}
	for _, look := range []func(holdings) error{descriptors, namespaces, children} {
		if err := look(h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// since lists what h has more than before, sorted.
func (h holdings) since(before holdings) []string {
	var more []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if n := h[name] - before[name]; n == 1 {
			more = append(more, name)
		} else if n > 1 {
			more = append(more, fmt.Sprintf("%s (%d of them)", name, n))
		}
	}
	return more
}

// runtimes are descriptors that Go's runtime opens when it first needs them.
var runtimes = []string{"anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/sys/fs/cgroup/"}

// descriptors adds the open ones.
func descriptors(h holdings) error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd == int(dir.Fd()) {
			continue
		}
		target, err := os.Readlink("/proc/self/fd/" + name)
		if err != nil {
			continue // closed meanwhile
		}
		if slices.ContainsFunc(runtimes, func(own string) bool { return strings.HasPrefix(target, own) }) {
			continue
		}
		if strings.HasPrefix(target, "socket:") {
			target = socket(fd)
		}
		h["descriptor of "+target]++
	}
	return nil
}

// socket describes a socket by what it is and where it is bound, as its inode
// tells nothing.
func socket(fd int) string {
	option := func(name int) int {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
		if err != nil {
			return -1
		}
		return v
	}
	domain, ok := map[int]string{
		unix.AF_UNIX: "unix", unix.AF_INET: "IPv4", unix.AF_INET6: "IPv6", unix.AF_NETLINK: "netlink", unix.AF_PACKET: "packet",
	}[option(unix.SO_DOMAIN)]
	if !ok {
		domain = fmt.Sprintf("family %d", option(unix.SO_DOMAIN))
	}
	at := ""
	switch a, _ := unix.Getsockname(fd); a := a.(type) {
	case *unix.SockaddrUnix:
		at = a.Name
	case *unix.SockaddrInet4:
		at = fmt.Sprintf("port %d", a.Port)
	case *unix.SockaddrInet6:
		at = fmt.Sprintf("port %d", a.Port)
	}
	return strings.TrimSpace(fmt.Sprintf("a %s socket, type %d, protocol %d %s",
		domain, option(unix.SO_TYPE), option(unix.SO_PROTOCOL), at))
}

// namespaces adds the network namespaces of all threads, one each, but for the
// first one: a goroutine that ends while it is locked to that cannot take it along,
// and the runtime never uses it again.
func namespaces(h holdings) error {
	links, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		return err
	}
	first := fmt.Sprintf("/proc/self/task/%d/ns/net", os.Getpid())
	for _, link := range links {
		if link == first {
			continue
		}
		if ns, err := os.Readlink(link); err == nil { // the thread may have ended
			h["a thread in the network namespace "+ns] = 1
		}
	}
	return nil
}

// children adds processes that this one has started.
func children(h holdings) error {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return err
	}
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, pid := range strings.Fields(string(pids)) {
			line, err := os.ReadFile("/proc/" + pid + "/cmdline")
			if err != nil {
				continue
			}
			h["process "+pid+" "+strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))]++
		}
	}
	return nil
}

// filesBelow lists what is in a folder, with what is mounted there, but not what
// is in folders of it.
func filesBelow(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list temporary folder: %w", err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, "file "+filepath.Join(dir, e.Name()))
	}
	at, err := mountsBelow(dir)
	for _, path := range at {
		left = append(left, "mount "+path)
	}
	return left, err
}

// mountsBelow lists mount points in dir, the last mounted first.
func mountsBelow(dir string) ([]string, error) {
	mounts, err := os.ReadFile("/proc/thread-self/mounts")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var at []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			at = append(at, f[1])
		}
	}
	slices.Reverse(at)
	return at, nil
}

func unmountBelow(dir string) error {
	at, err := mountsBelow(dir)
	for _, path := range at {
		if e := unix.Unmount(path, unix.MNT_DETACH); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", path, e))
		}
	}
	return err
}
