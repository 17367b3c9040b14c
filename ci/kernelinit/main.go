// Command kernelinit is the first process of the machines that ci/kernels.sh boots: it loads modules, runs test binaries
// one after the other, writes what they say to the second serial port, and ends the machine. Everything it needs is in
// the initial RAM disk:
//
//	/modules/order   modules, a path a line, each after those that it needs
//	/tests/list      a line for each test: import path, working folder, binary, which of its tests (-test.run)
//
// On the port each test stands between a line "kernelinit: begin PATH" and a line "kernelinit: end PATH STATUS"; the last
// line is "kernelinit: done". A machine that ends without it has crashed.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// results is the serial port that ci/kernels.sh keeps in a file.
const results = "/dev/ttyS1"

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "kernelinit: this is the init of a test machine; ci/kernels.sh boots it")
		os.Exit(2)
	}
	if err := live(); err != nil {
		fmt.Fprintln(os.Stderr, "kernelinit:", err)
	}
	unix.Sync()
	// Not a power-off: the small machine has no ACPI to do it with. qemu ends at a reboot.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func live() error {
	if err := mountAll(); err != nil {
		return err
	}
	out, err := os.OpenFile(results, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open the results' port: %w", err)
	}
	defer out.Close()
	if err := raw(out); err != nil {
		return err
	}
	if err := errors.Join(eachLine("/modules/order", loadModule), raiseLoopback()); err != nil {
		return err
	}
	if err := eachLine("/tests/list", func(line string) error { return runTest(out, line) }); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "kernelinit: done")
	return err
}

func mountAll() error {
	for _, m := range [][2]string{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"bpf", "/sys/fs/bpf"},
		{"tmpfs", "/tmp"}, {"tmpfs", "/run"}, {"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m[0], m[1], err)
		}
	}
	return nil
}

// raw keeps the terminal from turning newlines into two characters.
func raw(port *os.File) error {
	settings, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", port.Name(), err)
	}
	settings.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, settings); err != nil {
		return fmt.Errorf("set %s raw: %w", port.Name(), err)
	}
	return nil
}

func raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

func eachLine(path string, do func(string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if err := do(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", path, err)
	}
	return nil
}

// runTest runs one line of the list. A test that fails is no error: its status says so.
func runTest(out io.Writer, line string) error {
	words := strings.Fields(line)
	if len(words) != 4 {
		return fmt.Errorf("line %q of /tests/list: want import path, folder, binary and pattern", line)
	}
	fmt.Fprintf(out, "kernelinit: begin %s\n", words[0])
	test := exec.Command(words[2], "-test.run="+words[3], "-test.short", "-test.v=test2json", "-test.count=1", "-test.timeout=20m")
	test.Dir, test.Stdout, test.Stderr = words[1], out, out
	test.Env = []string{"PATH=/bin:/sbin", "HOME=/tmp", "TMPDIR=/tmp", "USER=root"}
	status := 0
	if err := test.Run(); err != nil {
		status = max(test.ProcessState.ExitCode(), 1)
		fmt.Fprintln(out, err)
	}
	_, err := fmt.Fprintf(out, "kernelinit: end %s %d\n", words[0], status)
	return err
}
