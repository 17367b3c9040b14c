package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/onsi/ginkgo/v2"

	"github.com/weir-lb/weir/topo/capture"
	"github.com/weir-lb/weir/topo/spec"
)

// recording is a capture that writes a pcap file.
type recording struct {
	*capture.Capture
	file *os.File
}

// startRecording makes the folder of the next failure and records every link
// into it, as link-NODE-INTERFACE.pcapng.
func (s *Scenario) startRecording() error {
	if err := os.MkdirAll(s.folder(), 0o755); err != nil {
		return fmt.Errorf("make folder of artifacts: %w", err)
	}
	if !s.recorded {
		return nil
	}
	for _, l := range s.Page.Links {
		if err := s.record(s.observer(l)); err != nil {
			return err
		}
	}
	return nil
}

// observer is the end of a link where a capture sees everything. On a load
// balancer native XDP takes frames before a capture sees them.
func (s *Scenario) observer(l spec.Link) spec.Endpoint {
	if s.Page.Nodes[l.Endpoints[0].Node].Role == spec.LB {
		return l.Endpoints[1]
	}
	return l.Endpoints[0]
}

func (s *Scenario) record(e spec.Endpoint) error {
	f, err := os.Create(filepath.Join(s.folder(), fmt.Sprintf("link-%s-%s.pcapng", e.Node, e.Interface)))
	if err != nil {
		return fmt.Errorf("record %s: %w", e, err)
	}
	c, err := capture.Open(capture.Options{
		Interface: e.Interface, Node: e.Node, Enter: s.Node(e.Node).Do, Pcap: f,
		Filter: func(capture.Frame) bool { return false }, // for the file only
	})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.captures = append(s.captures, &recording{c, f})
	return nil
}

// stopRecording ends all recordings. Their files stay.
func (s *Scenario) stopRecording() error {
	var errs []error
	for _, c := range s.captures {
		errs = append(errs, c.Stop(), c.file.Close())
	}
	s.captures = nil
	return errors.Join(errs...)
}

// Capture keeps the frames of an interface, written node:interface, in memory
// until the spec ends; filter chooses which, nil takes all.
func (s *Scenario) Capture(at string, filter func(capture.Frame) bool) *capture.Capture {
	ginkgo.GinkgoHelper()
	return s.capture(at, capture.Options{Filter: filter})
}

// headerBytes are enough for Ethernet, IPv4 and TCP with options.
const headerBytes = 128

// Headers is Capture for bulk traffic: it keeps the begin of each frame only.
func (s *Scenario) Headers(at string, filter func(capture.Frame) bool) *capture.Capture {
	ginkgo.GinkgoHelper()
	return s.capture(at, capture.Options{Filter: filter, Snaplen: headerBytes})
}

func (s *Scenario) capture(at string, o capture.Options) *capture.Capture {
	ginkgo.GinkgoHelper()
	node, iface, _ := strings.Cut(at, ":")
	o.Node, o.Interface, o.Enter = node, iface, s.Node(node).Do
	c, err := capture.Open(o)
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	ginkgo.DeferCleanup(c.Stop)
	return c
}

// Inject opens an injector of crafted frames on an interface, written
// node:interface, until the spec ends.
func (s *Scenario) Inject(at string) *capture.Injector {
	ginkgo.GinkgoHelper()
	node, iface, _ := strings.Cut(at, ":")
	i, err := capture.OpenInjector(s.Node(node).Do, iface)
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	ginkgo.DeferCleanup(i.Close)
	return i
}

// MAC is the hardware address of an interface, written node:interface.
func (s *Scenario) MAC(at string) net.HardwareAddr {
	ginkgo.GinkgoHelper()
	node, name, _ := strings.Cut(at, ":")
	var mac net.HardwareAddr
	err := s.Node(node).Do(func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			mac = i.HardwareAddr
		}
		return err
	})
	if err != nil {
		ginkgo.Fail(fmt.Sprintf("read hardware address of %s: %v", at, err))
	}
	return mac
}
