// Package machine tells what figures depend on: kernel, CPU, mitigations, tools,
// and how much else the machine had to do while they were taken.
package machine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bench/result"
)

// Watch is the machine from Look on.
type Watch struct {
	machine result.Machine
	cpu     cpuTimes
}

// Look reads the facts and begins to watch. bin is the folder of weir's programs.
func Look(ctx context.Context, bin string) (*Watch, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("read kernel version: %w", err)
	}
	w := &Watch{machine: result.Machine{
		Kernel:      unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:]),
		CPU:         field("/proc/cpuinfo", "model name"),
		CPUs:        runtime.NumCPU(),
		Mitigations: mitigations(),
		JIT:         readLine("/proc/sys/net/core/bpf_jit_enable"),
		Weir:        firstLine(ctx, filepath.Join(bin, "weir"), "--version"),
		Tools:       tools(ctx),
	}}
	if kb, err := strconv.ParseUint(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		w.machine.Memory = kb << 10
	}
	w.machine.Load[0] = load()
	var err error
	w.cpu, err = readCPU()
	return w, err
}

// Done returns the facts with what happened since Look.
func (w *Watch) Done() (result.Machine, error) {
	now, err := readCPU()
	if err != nil {
		return result.Machine{}, err
	}
	m := w.machine
	m.Load[1] = load()
	if all := now.all - w.cpu.all; all > 0 {
		m.Steal, m.Busy = (now.steal-w.cpu.steal)/all, 1-(now.idle-w.cpu.idle)/all
	}
	return m, nil
}

// cpuTimes are the first line of /proc/stat, in ticks.
type cpuTimes struct{ all, idle, steal float64 }

func readCPU() (cpuTimes, error) {
	words := strings.Fields(readLine("/proc/stat"))
	const idle, iowait, steal, guest = 4, 5, 8, 9
	if len(words) < guest {
		return cpuTimes{}, fmt.Errorf("read CPU times: /proc/stat begins with %q", words)
	}
	var t cpuTimes
	for i, word := range words[1:guest] { // guests are in user time already
		n, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return cpuTimes{}, fmt.Errorf("read CPU times: %w", err)
		}
		t.all += n
		switch i + 1 {
		case idle, iowait:
			t.idle += n
		case steal:
			t.steal += n
		}
	}
	return t, nil
}

func load() float64 {
	one, _, _ := strings.Cut(readLine("/proc/loadavg"), " ")
	n, err := strconv.ParseFloat(one, 64)
	if err != nil {
		return 0
	}
	return n
}

// mitigations are those that are in force, "spectre_v2: Retpolines".
func mitigations() []string {
	const dir = "/sys/devices/system/cpu/vulnerabilities"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if how, ok := strings.CutPrefix(readLine(filepath.Join(dir, e.Name())), "Mitigation: "); ok {
			how, _, _ = strings.Cut(how, ";")
			all = append(all, e.Name()+": "+how)
		}
	}
	return all
}

// tools names the versions of what weir is compared with and measured by.
func tools(ctx context.Context) map[string]string {
	all := map[string]string{}
	for name, args := range map[string][]string{
		"nft": {"--version"}, "iptables": {"--version"}, "haproxy": {"-v"}, "nginx": {"-v"}, "wrk": {"-v"}, "iperf3": {"--version"},
	} {
		if line := firstLine(ctx, name, args...); line != "" {
			all[name] = line
		}
	}
	return all
}

// firstLine is the first line that a command prints; wrk's exit status is that of
// its usage.
func firstLine(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

func readLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// field is the value of the first line "name : value" of a file of /proc.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
