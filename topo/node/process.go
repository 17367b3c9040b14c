package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/topo/spec"
)

// StopTimeout is how long a process may take from SIGTERM to its end.
const StopTimeout = 5 * time.Second

// Process is a program of a node. It can be stopped and started again; each
// start appends to the same log.
type Process struct {
	Spec spec.Process
	node *Node
	// spawner is nil for processes that outlive this program.
	spawner *Spawner

	mu  sync.Mutex
	cmd *exec.Cmd // of the last start by this program, until reaped
}

// NewProcess returns the process of a page, which may be running already.
// With a spawner it dies with this program, without it stays.
func NewProcess(n *Node, s spec.Process, sp *Spawner) *Process {
	return &Process{Spec: s, node: n, spawner: sp}
}

// String prints node/process.
func (p *Process) String() string { return p.node.Name + "/" + p.Spec.Name }

// Log is the file with the process's standard output and error.
func (p *Process) Log() string { return filepath.Join(p.node.Dir(), p.Spec.Name+".log") }

// Start starts the process and waits until it is ready, for as long as the
// page or ctx says. The error has the end of the log.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	return p.WaitReady(ctx)
}

// Launch starts the process without waiting. One that runs is an error.
func (p *Process) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, ok := p.recorded(); ok && id.alive() {
		return fmt.Errorf("start %s: it runs already as process %d", p, id.PID)
	}
	p.reap()
	cmd, err := p.command()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if p.spawner != nil {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		err = p.spawner.start(p.node.NS, cmd)
	} else {
		err = p.node.Start(cmd)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", p, err)
	}
	p.cmd = cmd
	return p.record(cmd.Process.Pid)
}

// command expands the page's command line.
func (p *Process) command() (*exec.Cmd, error) {
	words, err := p.words(p.Spec.Command)
	if err != nil {
		return nil, err
	}
	path, err := p.node.LookPath(words[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, words[1:]...)
	cmd.Args[0] = words[0]
	cmd.Dir = p.node.Dir()
	cmd.Env = p.node.Environ()
	for k, v := range p.Spec.Env {
		if v, err = p.node.Vars.Expand(v); err != nil {
			return nil, fmt.Errorf("start %s: %w", p, err)
		}
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	// A session of its own keeps the terminal's ^C and hang-up away; it is a
	// process group too, so that a stop reaches the children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}

func (p *Process) words(line string) ([]string, error) {
	words, err := spec.SplitCommand(line)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p, err)
	}
	for i := range words {
		if words[i], err = p.node.Vars.Expand(words[i]); err != nil {
			return nil, fmt.Errorf("start %s: %w", p, err)
		}
	}
	return words, nil
}

// Running tells whether the process runs, whoever started it.
func (p *Process) Running() bool {
	id, ok := p.recorded()
	return ok && id.alive()
}

// PID returns the process's number, zero when it does not run.
func (p *Process) PID() int {
	if id, ok := p.recorded(); ok && id.alive() {
		return id.PID
	}
	return 0
}

// Signal sends sig to the process and its children.
func (p *Process) Signal(sig unix.Signal) error {
	id, ok := p.recorded()
	if !ok {
		return nil
	}
	return id.signal(sig)
}

// Stop asks the process to end with SIGTERM and waits; after StopTimeout it
// kills. One that does not run is stopped already.
func (p *Process) Stop(ctx context.Context) error {
	soft, cancel := context.WithTimeout(ctx, StopTimeout)
	defer cancel()
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if p.Wait(soft) == nil {
		return nil
	}
	return p.Kill(ctx)
}

// Kill ends the process and its children with SIGKILL and waits.
func (p *Process) Kill(ctx context.Context) error {
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return p.Wait(ctx)
}

// Wait blocks until the process has ended by itself or by others, or ctx ends.
func (p *Process) Wait(ctx context.Context) error {
	if id, ok := p.recorded(); ok {
		if err := id.wait(ctx); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reap()
	return nil
}

// reap collects a child that has ended, so that no zombie stays.
func (p *Process) reap() {
	if p.cmd != nil {
		// The exit status is in no one's interest: the log tells more.
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *Process) pidFile() string { return filepath.Join(p.node.Dir(), p.Spec.Name+".pid") }

// record notes the process in the state folder, for who comes after a crash.
func (p *Process) record(number int) error {
	id, err := identify(number)
	if err != nil {
		return fmt.Errorf("start %s: %w", p, err)
	}
	b, err := json.Marshal(id)
	if err == nil {
		err = os.WriteFile(p.pidFile(), b, 0o600)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record process %s: %w", p, err), id.signal(unix.SIGKILL))
	}
	return nil
}

func (p *Process) recorded() (pid, bool) {
	var id pid
	b, err := os.ReadFile(p.pidFile())
	if err != nil || json.Unmarshal(b, &id) != nil {
		return pid{}, false
	}
	return id, true
}
