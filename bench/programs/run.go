package programs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// liveFrames makes test_run send what the program redirects (Linux 5.18).
const liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES

// batch keeps what is under way below the 256 entries of a veth's ring.
const batch = 64

// Time runs a program repeat times over a frame by BPF_PROG_TEST_RUN and returns
// the mean of one run in nanoseconds. context is a struct xdp_md or __sk_buff.
func (c Clock) Time(p *ebpf.Program, frame, context []byte, repeat int) (float64, error) {
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: context, Repeat: uint32(repeat)}
	elapsed, err := c.onCPU(SomeCPU(), func() error {
		_, err := p.Run(options)
		return err
	})
	return float64(elapsed.Nanoseconds()) / float64(repeat), err
}

// Send generates n datagrams of p's stream from the namespace that the calling
// thread is in, and returns what they cost on their whole way: generator, veths,
// whatever forwards them, and sink run in one softirq of this thread, on this CPU.
func (c Clock) Send(p *Programs, cpu, n int) (time.Duration, error) {
	frame := make([]byte, SampleLength)
	options := &ebpf.RunOptions{Data: frame, Repeat: uint32(n), Flags: liveFrames, BatchSize: batch}
	elapsed, err := c.onCPU(cpu, func() error {
		_, err := p.Generate.Run(options)
		return err
	})
	if err != nil {
		err = fmt.Errorf("send %d datagrams: %w", n, err)
	}
	return elapsed, err
}

// onCPU runs f with the thread on this CPU and returns how long it took.
func (c Clock) onCPU(cpu int, f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, here unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return 0, fmt.Errorf("read CPU affinity: %w", err)
	}
	here.Set(cpu)
	if err := unix.SchedSetaffinity(0, &here); err != nil {
		return 0, fmt.Errorf("stay on one CPU: %w", err)
	}
	start, err := c.now()
	if err == nil {
		err = f()
	}
	end, timeErr := c.now()
	return end - start, errors.Join(err, timeErr, unix.SchedSetaffinity(0, &before))
}

// SomeCPU is where the scheduler has put the calling thread: likely the CPU with
// the least to do.
func SomeCPU() int {
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return 0
	}
	return int(cpu)
}

func nativeWord(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
