package harness

import (
	"fmt"
	"slices"

	"github.com/onsi/gomega/format"
	"github.com/onsi/gomega/types"

	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/probe/packet"
)

// DiffFrame compares what was captured with the frame that was wanted, byte by
// byte from the IPv4 header on, and verifies the captured checksums on their
// own. It returns "" or what differs. Where the kernel has left a checksum
// for a device to complete, its pseudo header sum is verified instead, and all
// the other bytes are compared.
func DiffFrame(want []byte, got capture.Frame) string {
	if err := got.Verify(); err != nil {
		p, _ := got.Packet()
		return fmt.Sprintf("%s: %v", p, err)
	}
	if !got.Partial {
		return packet.DiffIP(want, got.Data)
	}
	completed := slices.Clone(got.Data)
	if err := packet.FixChecksums(completed); err != nil {
		return err.Error()
	}
	return packet.DiffIP(want, completed)
}

// BeFrame succeeds for a captured frame that DiffFrame finds equal to want.
func BeFrame(want []byte) types.GomegaMatcher { return &frameMatcher{want: want} }

type frameMatcher struct {
	want []byte
	diff string
}

func (m *frameMatcher) Match(actual any) (bool, error) {
	got, ok := actual.(capture.Frame)
	if !ok {
		return false, fmt.Errorf("BeFrame matches a capture.Frame, not\n%s", format.Object(actual, 1))
	}
	m.diff = DiffFrame(m.want, got)
	return m.diff == "", nil
}

func (m *frameMatcher) FailureMessage(any) string { return m.diff }

func (m *frameMatcher) NegatedFailureMessage(any) string {
	p, _ := packet.Parse(m.want) // it was equal to a frame that parses
	return fmt.Sprintf("the packet is %s, and should not be", p)
}
