package pin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// system is where the machine has its BPF file system. It is mounted there for
// everybody, as systemd does it; any other place is weir's own.
const system = "/sys/fs/bpf"

// source is the mount's name in /proc/mounts, by which Remove knows it again.
const source = "weir"

// onBPFFS makes dir a folder of a BPF file system that can be written.
func onBPFFS(dir string) error {
	is, err := isBPFFS(existing(dir))
	if err == nil && is {
		err = writable(existing(dir))
	} else if err == nil {
		err = mount(dir)
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("create pin folder: %w; choose another --pin-dir", err)
	}
	return nil
}

// existing is the deepest folder on the way to dir that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func isBPFFS(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, fmt.Errorf("look at pin folder %s: %w; choose another --pin-dir", dir, err)
	}
	return st.Type == unix.BPF_FS_MAGIC, nil
}

// writable refuses a file system that is mounted read-only: what could be
// adopted from it could not be kept up to date.
func writable(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at pin folder %s: %w; choose another --pin-dir", dir, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("open pin folder %s, nothing was touched: %w; mount it for writing (mount -o remount,rw), or choose another --pin-dir", dir, unix.EROFS)
	}
	return nil
}

// mount mounts a BPF file system for dir.
func mount(dir string) error {
	at := dir
	if strings.HasPrefix(dir+"/", system+"/") {
		at = system
	} else if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("create pin folder: %w; choose another --pin-dir", err)
	}
	if err := unix.Mount(source, at, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount BPF file system on %s: %w; mount it (mount -t bpf bpf %s), or choose another --pin-dir", at, err, at)
	}
	return nil
}

// removeFolder removes an empty pin folder, and the mount below it if that is
// weir's own.
func removeFolder(dir string) error {
	if mounted, err := ours(dir); err != nil {
		return err
	} else if mounted {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	// EBUSY is a mount of somebody else's, who wants to find it again.
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove pin folder: %w", err)
	}
	return nil
}

// ours tells whether mount has mounted dir for weir alone.
func ours(dir string) (bool, error) {
	if dir == system {
		return false, nil
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return false, fmt.Errorf("list mounts: %w", err)
	}
	found := false
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) > 2 && f[1] == dir {
			found = f[0] == source && f[2] == "bpf" // the last one is on top
		}
	}
	return found, nil
}
