package capture

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Injector sends crafted frames out of an interface, byte for byte. It is safe for concurrent use.
type Injector struct {
	name  string
	index int
	file  *os.File
}

// OpenInjector opens an injector on an interface of the namespace that enter runs functions in; nil is the caller's.
func OpenInjector(enter func(func() error) error, name string) (*Injector, error) {
	if enter == nil {
		enter = func(f func() error) error { return f() }
	}
	i := &Injector{name: name}
	err := enter(func() (err error) {
		i.file, i.index, err = packetSocket(name, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inject on %s: %w", name, err)
	}
	return i, nil
}

// Send puts one frame, from its Ethernet header on, on the wire. A frame longer than the interface's MTU allows fails
// with EMSGSIZE.
func (i *Injector) Send(frame []byte) error {
	raw, err := i.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("inject on %s: %w", i.name, err)
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{Ifindex: i.index})
		return sendErr != unix.EAGAIN
	})
	if err == nil {
		err = sendErr
	}
	if err != nil {
		return fmt.Errorf("inject %d bytes on %s: %w", len(frame), i.name, err)
	}
	return nil
}

// Close closes the socket.
func (i *Injector) Close() error { return i.file.Close() }
