package interop

import (
	"context"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/scenarios/harness"
	"github.com/weir-lb/weir/topo/spec"
)

// corpus has a file for each message that no peer should send: what is wrong,
// what has to follow, and the bytes. "expect" is "notification CODE", or, where
// the session is kept, "withdraw" (the prefix is not taken, RFC 7606) or "taken"
// (what is wrong is left out).
//
//go:embed testdata/malformed/*.txt
var corpus embed.FS

// malformed is one of the corpus.
type malformed struct {
	name, expect string
	bytes        []byte
}

func readCorpus() ([]malformed, error) {
	const dir = "testdata/malformed"
	files, err := corpus.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []malformed
	for _, f := range files {
		text, err := corpus.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		m, err := parseMalformed(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		m.name = strings.TrimSuffix(f.Name(), ".txt")
		all = append(all, m)
	}
	return all, nil
}

func parseMalformed(text string) (malformed, error) {
	var m malformed
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "#":
		case "expect":
			m.expect = rest
		case "length":
			n, err := strconv.Atoi(rest)
			if err != nil {
				return m, err
			}
			defer func() { m.bytes = append(m.bytes, make([]byte, n-len(m.bytes))...) }()
		default:
			b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			if err != nil {
				return m, err
			}
			m.bytes = append(m.bytes, b...)
		}
	}
	return m, nil
}

// strangerAddress is that of the i-th misbehaving peer: each has a session of
// its own, so that none waits for the end of another's.
func strangerAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 80, byte(31 + i)}) }

// withStrangers adds a machine with that many peers of master1 and master2.
func withStrangers(p *spec.Page, n int) {
	addresses := &spec.Interface{}
	kube := &p.Nodes["worker2"].Processes[1]
	peers := ""
	for i := range n {
		addresses.Addresses = append(addresses.Addresses, netip.PrefixFrom(strangerAddress(i), 24))
		peers += fmt.Sprintf(",%s:%d", strangerAddress(i), strangerAS)
	}
	kube.Command = strings.Replace(kube.Command, "192.168.80.1:65101", "192.168.80.1:65101"+peers, 1)
	p.Nodes["stranger"] = &spec.Node{Name: "stranger", Role: spec.Client, Interfaces: map[string]*spec.Interface{"eth1": addresses}}
	p.Order = append(p.Order, "stranger")
	p.Links = append(p.Links, spec.Link{MTU: spec.DefaultMTU, Endpoints: []spec.Endpoint{
		{Node: "stranger", Interface: "eth1"}, {Node: "sw80", Interface: "p6"},
	}})
}

// strangerPrefix is what the messages of the corpus announce.
const strangerPrefix = "203.0.113.0/24"

// wellFormed announces prefixes as it should be.
func wellFormed(nextHop netip.Addr, prefixes ...string) []byte {
	attributes := []byte{0x40, 1, 1, 0, 0x40, 2, 6, 2, 1}
	attributes = binary.BigEndian.AppendUint32(attributes, strangerAS)
	attributes = append(append(attributes, 0x40, 3, 4), nextHop.AsSlice()...)
	body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attributes)))
	body = append(body, attributes...)
	for _, prefix := range prefixes {
		p := netip.MustParsePrefix(prefix)
		body = append(append(body, byte(p.Bits())), p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
	}
	return message(typeUpdate, body)
}

// attack opens a session from the i-th address to master1, sends, and returns
// what became of it, in the words of the corpus. weir may be dialling just now,
// and end the first session for that: it is tried again.
func attack(ctx context.Context, l *lab.Lab, i int, bytes []byte) string {
	GinkgoHelper()
	var p *peer
	harness.Soon(ctx, func(ctx context.Context) error {
		var err error
		p, err = dial(ctx, l.Node("stranger"), strangerAddress(i), lab.Master1)
		return err
	}).WithPolling(200 * time.Millisecond).Should(Succeed())
	defer p.conn.Close()
	Expect(p.send(bytes)).To(Succeed())
	verdict := p.verdict()
	if verdict != "kept" {
		return verdict
	}
	// The KEEPALIVE may be older than what was sent. What comes behind that, two
	// prefixes at once, is read after it.
	if err := p.send(wellFormed(strangerAddress(i), "198.51.100.0/24", "198.51.100.0/25")); err != nil {
		return p.ending()
	}
	var now v1.PeerStatus
	harness.Soon(ctx, func(ctx context.Context) (bool, error) {
		o, err := l.Weir("master1").Observed(ctx)
		if err != nil {
			return false, err
		}
		at := slices.IndexFunc(o.BGP.Peers, func(s v1.PeerStatus) bool { return s.Address == strangerAddress(i) })
		now = o.BGP.Peers[at]
		return now.Accepted >= 2 || now.State != "established", nil
	}).WithPolling(100 * time.Millisecond).Should(BeTrue())
	switch {
	case now.State != "established":
		return p.ending()
	case now.Accepted > 2:
		return "taken"
	}
	return "withdraw"
}

// sessions are those of master1 that are up, with the time since when.
func sessions(ctx context.Context, l *lab.Lab, node string) (map[netip.Addr]time.Time, error) {
	o, err := l.Weir(node).Observed(ctx)
	if err != nil || o.BGP == nil {
		return nil, err
	}
	up := map[netip.Addr]time.Time{}
	for _, p := range o.BGP.Peers {
		if p.State == "established" {
			up[p.Address] = time.Now().Add(-p.Uptime)
		}
	}
	return up, nil
}

// expectUndisturbed expects that each of the sessions from before is the same
// one still, but for those named.
func expectUndisturbed(ctx context.Context, l *lab.Lab, node string, before map[netip.Addr]time.Time, but ...netip.Addr) {
	GinkgoHelper()
	after, err := sessions(ctx, l, node)
	Expect(err).NotTo(HaveOccurred())
	for address, since := range before {
		if !slices.Contains(but, address) {
			Expect(after).To(HaveKeyWithValue(address, BeTemporally("~", since, 1500*time.Millisecond)), "session of %s with %s", node, address)
		}
	}
}

// rib is what master1 knows.
func rib(ctx context.Context, l *lab.Lab) AsyncAssertion {
	return harness.Soon(ctx, func(ctx context.Context) (map[string][]lab.RIBPath, error) { return l.RIB(ctx, "master1") }).
		WithPolling(100 * time.Millisecond)
}
