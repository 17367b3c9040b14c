package packettest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/bpf"
)

// A frontend is a service of the VIP in a row's state.
type frontend struct {
	proto    uint8
	port     uint16
	mode     uint8
	backends []string // "b1:8080"
	source   string   // of onearm; "" is lb
}

// ports are a range, both ends in it.
type ports struct{ min, max uint16 }

// state is what the maps hold before a row runs.
type state struct {
	vips      map[string]bpf.VIP
	own       ports    // of flows whose source is this node's own address
	backends  []string // hosts known as backends, beside those of the frontends
	frontends []frontend
	// sources are the prefixes that ports are open for, all if it has none, affinity the seconds that clients keep
	// their backend, algorithms how backends are chosen, round robin if it has none.
	sources    map[uint16][]string
	affinity   map[uint16]uint32
	algorithms map[uint16]uint8
	devices    map[string]bpf.Device
}

// Frontends that rows use: one for each mode and protocol, and TCP ones whose
// backend is special.
const (
	fullnatTCP, fullnatUDP, fullnatSCTP = 80, 53, 9999
	defaultTCP, defaultUDP, defaultSCTP = 81, 54, 9001
	onearmTCP, onearmUDP, onearmSCTP    = 82, 55, 9002
	localTCP, localUDP, localSCTP       = 70, 71, 72
)

// backendFlags are those of every backend at a host.
var backendFlags = map[string]uint16{"lb": bpf.BackendLocal, "pod": bpf.BackendLocal, "lb2": bpf.BackendLB}

func newState() *state {
	s := &state{
		vips:    map[string]bpf.VIP{"vip": {Flags: bpf.VIPActive, PortMin: 1024, PortMax: 65535}},
		own:     ports{40000, 65535},
		devices: make(map[string]bpf.Device), sources: map[uint16][]string{}, affinity: map[uint16]uint32{}, algorithms: map[uint16]uint8{},
		frontends: []frontend{
			{tcp, fullnatTCP, bpf.ModeFullnat, []string{"b1:8080"}, ""},
			{udp, fullnatUDP, bpf.ModeFullnat, []string{"b1:5353"}, ""},
			{sctp, fullnatSCTP, bpf.ModeFullnat, []string{"b1:9998"}, ""},
			{tcp, defaultTCP, bpf.ModeDefault, []string{"b1:8080"}, ""},
			{udp, defaultUDP, bpf.ModeDefault, []string{"b1:5353"}, ""},
			{sctp, defaultSCTP, bpf.ModeDefault, []string{"b1:9998"}, ""},
			{tcp, onearmTCP, bpf.ModeOnearm, []string{"b1:8080"}, ""},
			{udp, onearmUDP, bpf.ModeOnearm, []string{"b1:5353"}, ""},
			{sctp, onearmSCTP, bpf.ModeOnearm, []string{"b1:9998"}, ""},
			{tcp, 83, bpf.ModeFullnat, []string{"b1:8080", "b2:8080", "b3:8080"}, ""},
			{tcp, 84, bpf.ModeFullnat, nil, ""},
			{tcp, 85, bpf.ModeFullnat, []string{"narrow:8080"}, ""},
			{tcp, 86, bpf.ModeFullnat, []string{"slow:8080"}, ""},
			{tcp, 87, bpf.ModeFullnat, []string{"nowhere:8080"}, ""},
			{tcp, 88, bpf.ModeFullnat, []string{"hole:8080"}, ""},
			{tcp, 89, bpf.ModeFullnat, []string{"prohibited:8080"}, ""},
			{tcp, 90, bpf.ModeFullnat, []string{"unreachable:8080"}, ""},
			{tcp, 91, bpf.ModeFullnat, []string{"lost:8080"}, ""},
			{tcp, 92, bpf.ModeOnearm, []string{"b1:8080"}, "0.0.0.0"},
			{tcp, 93, bpf.ModeFullnat, []string{"b1:80"}, ""},
			{tcp, localTCP, bpf.ModeFullnat, []string{"lb:30080"}, ""},
			{udp, localUDP, bpf.ModeOnearm, []string{"lb:30053"}, ""},
			{sctp, localSCTP, bpf.ModeDefault, []string{"lb:30099"}, ""},
			{tcp, 73, bpf.ModeFullnat, []string{"pod:80"}, ""},
			{tcp, 74, bpf.ModeFullnat, []string{"lb2:30080"}, ""},
			{tcp, 75, bpf.ModeFullnat, []string{"slow:8080"}, ""},
		},
	}
	for _, n := range nics {
		device := bpf.Device{Flags: n.flags, Mtu: 9100, Addr: bpf.Addr(n.prefix.Addr())}
		copy(device.Mac[:], n.mac())
		s.devices[n.name] = device
	}
	return s
}

// program writes s and the flow entries into the maps, which it empties before.
// Next hops of earlier rows become stale by a new generation.
func (w *world) program(s *state, entries []string) error {
	errs := []error{w.clear(bpf.MapVIPs), w.clear(bpf.MapServices), w.clear(bpf.MapFlows), w.clear(bpf.MapFlowsNew),
		w.clear(bpf.MapDevices), w.clear(bpf.MapBackendAddrs), w.clear(bpf.MapSources), w.clear(bpf.MapAffinity),
		w.zeroCounters(), w.fillBuckets(), w.emptyCache()}
	for _, host := range s.backends {
		errs = append(errs, w.maps[bpf.MapBackendAddrs].Put(bpf.Addr(addr(host)), uint32(1)))
	}
	for name, vip := range s.vips {
		errs = append(errs, w.maps[bpf.MapVIPs].Put(bpf.Addr(addr(name)), &vip))
	}
	for _, n := range nics {
		device := s.devices[n.name]
		errs = append(errs, w.maps[bpf.MapDevices].Put(uint32(n.ifindex), &device))
	}
	slot := uint32(1)
	for i, f := range s.frontends {
		errs = append(errs, w.putFrontend(uint32(i+1), f, s, &slot))
	}
	for _, line := range entries {
		errs = append(errs, w.putEntry(line))
	}
	return errors.Join(append(errs, w.configure(func(c *bpf.Config) {
		c.NexthopGeneration++
		c.OwnPortMin, c.OwnPortMax = s.own.min, s.own.max
	}))...)
}

func (w *world) emptyCache() error {
	return w.putCache(make([]bpf.Cached, w.maps[bpf.MapCache].MaxEntries()))
}

func (w *world) putCache(lines []bpf.Cached) error {
	keys := make([]uint32, len(lines))
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := w.maps[bpf.MapCache].BatchUpdate(keys, lines, nil)
	return err
}

// allCopies returns all lines of the cache, those that are empty too.
func (w *world) allCopies() ([]bpf.Cached, error) {
	n := w.maps[bpf.MapCache].MaxEntries()
	var cursor ebpf.MapBatchCursor
	keys, lines := make([]uint32, n), make([]bpf.Cached, n)
	_, err := w.maps[bpf.MapCache].BatchLookup(&cursor, keys, lines, nil)
	if errors.Is(err, ebpf.ErrKeyNotExist) { // the end
		err = nil
	}
	return lines, err
}

// cached returns the copies of flows that there are.
func (w *world) cached() ([]bpf.Cached, error) {
	lines, err := w.allCopies()
	return slices.DeleteFunc(lines, func(c bpf.Cached) bool { return c.Key.Proto == 0 }), err
}

// fillBuckets forgets which answers were given.
func (w *world) fillBuckets() error {
	limits := w.maps[bpf.MapLimits]
	keys, values := make([]uint32, limits.MaxEntries()), make([]uint64, limits.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := limits.BatchUpdate(keys, values, nil)
	return err
}

func (w *world) nextGeneration() error {
	return w.configure(func(c *bpf.Config) { c.NexthopGeneration++ })
}

func (w *world) configure(change func(*bpf.Config)) error {
	var config bpf.Config
	if err := w.maps[bpf.MapConfig].Lookup(uint32(0), &config); err != nil {
		return err
	}
	change(&config)
	return w.maps[bpf.MapConfig].Put(uint32(0), &config)
}

func (w *world) putFrontend(id uint32, f frontend, s *state, slot *uint32) error {
	service := bpf.Service{Id: id, SlotOffset: *slot, SlotCount: uint32(len(f.backends)), Mode: f.mode,
		Algorithm: s.algorithms[f.port], Affinity: s.affinity[f.port]}
	source := f.source
	if source == "" {
		source = "lb"
	}
	var errs []error
	for _, prefix := range s.sources[f.port] {
		service.Flags |= bpf.ServiceSources
		p := netip.MustParsePrefix(prefix)
		key := bpf.SourceKey{Bits: 32 + uint32(p.Bits()), Service: id, Addr: bpf.Addr(p.Addr())}
		errs = append(errs, w.maps[bpf.MapSources].Put(&key, uint32(1)))
	}
	for _, b := range f.backends {
		backend := bpf.Backend{Addr: bpf.Addr(ap(b).Addr()), Port: bpf.Port(ap(b).Port()),
			NodeAddr: bpf.Addr(addr(source)), Service: id}
		host, _, _ := strings.Cut(b, ":")
		backend.Flags = backendFlags[host]
		errs = append(errs, w.maps[bpf.MapBackendAddrs].Put(backend.Addr, uint32(1)),
			w.maps[bpf.MapBackends].Put(*slot, &backend), w.maps[bpf.MapSlots].Put(*slot, *slot))
		*slot++
	}
	key := bpf.ServiceKey{Vip: bpf.Addr(addr("vip")), Port: bpf.Port(f.port), Proto: f.proto}
	errs = append(errs, w.maps[bpf.MapServices].Put(&key, &service),
		w.maps[bpf.MapRRNext].Put(id, make([]uint32, ebpf.MustPossibleCPU())))
	return errors.Join(errs...)
}

func (w *world) clear(name string) error {
	m := w.maps[name]
	var keys [][]byte
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	for it := m.Iterate(); it.Next(&key, &value); {
		keys = append(keys, slices.Clone(key))
	}
	for _, k := range keys {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

func (w *world) zeroCounters() error {
	zero := make([]uint64, ebpf.MustPossibleCPU())
	for _, hook := range bpf.Hooks() {
		for _, c := range bpf.Counters() {
			if err := w.maps[bpf.MapCounters].Put(c.Index(hook), zero); err != nil {
				return err
			}
		}
	}
	return nil
}

// counters returns a hook's counters, those that are not 0.
func (w *world) counters(hook bpf.Hook) (map[bpf.Counter]uint64, error) {
	counters := make(map[bpf.Counter]uint64)
	for _, c := range bpf.Counters() {
		var values []uint64
		if err := w.maps[bpf.MapCounters].Lookup(c.Index(hook), &values); err != nil {
			return nil, err
		}
		for _, v := range values {
			if v > 0 {
				counters[c] += v
			}
		}
	}
	return counters, nil
}

var protoNames = map[uint8]string{tcp: "tcp", udp: "udp", sctp: "sctp"}

// Entries are lines of text:
//
//	flows tcp client:40000 > vip:80 = vip:40000 > b1:8080 established
//
// table, protocol, packet as it comes in, packet as it goes out, state, then the
// flags "reply", "fin", "taken", "up", "pair-up" and "answered".
func pair(table, stateName, proto, client, frontend, source, backend string) []string {
	return []string{
		fmt.Sprintf("%s %s %s > %s = %s > %s %s", table, proto, client, frontend, source, backend, stateName),
		fmt.Sprintf("%s %s %s > %s = %s > %s %s reply", table, proto, backend, source, frontend, client, stateName),
	}
}

// answered returns a half-open pair whose backend has answered.
func answered(halfOpen []string) []string { return with(halfOpen, "answered", "") }

// with adds flags to the entries of a pair: to the client's, and to the reply's.
func with(pair []string, forward, reply string) []string {
	return []string{strings.TrimSpace(pair[0] + " " + forward), strings.TrimSpace(pair[1] + " " + reply)}
}

var (
	stateNames = map[uint8]string{bpf.FlowHalfOpen: "half-open", bpf.FlowEstablished: "established", bpf.FlowClosing: "closing"}
	flagNames  = map[uint8]string{bpf.FlowReply: "reply", bpf.FlowSeenFIN: "fin", bpf.FlowTaken: "taken",
		bpf.FlowUp: "up", bpf.FlowPairUp: "pair-up", bpf.FlowAnswered: "answered"}
)

func (w *world) putEntry(line string) error {
	table, key, flow := parseEntry(line)
	return w.maps[table].Put(&key, &flow)
}

func parseEntry(line string) (table string, key bpf.FlowKey, flow bpf.Flow) {
	f := strings.Fields(line)
	src, dst, newSrc, newDst := ap(f[2]), ap(f[4]), ap(f[6]), ap(f[8])
	key = bpf.FlowKey{Saddr: bpf.Addr(src.Addr()), Daddr: bpf.Addr(dst.Addr()),
		Sport: bpf.Port(src.Port()), Dport: bpf.Port(dst.Port())}
	for proto, name := range protoNames {
		if name == f[1] {
			key.Proto = proto
		}
	}
	flow = bpf.Flow{Saddr: bpf.Addr(newSrc.Addr()), Daddr: bpf.Addr(newDst.Addr()),
		Sport: bpf.Port(newSrc.Port()), Dport: bpf.Port(newDst.Port()), Backend: 1, Service: 1}
	flow.CsumAddr = delta(key.Saddr, flow.Saddr, key.Daddr, flow.Daddr)
	flow.CsumPort = delta(uint32(key.Sport), uint32(flow.Sport), uint32(key.Dport), uint32(flow.Dport))
	for s, name := range stateNames {
		if name == f[9] {
			flow.State = s
		}
	}
	for flag, name := range flagNames {
		if slices.Contains(f[10:], name) {
			flow.Flags |= flag
		}
	}
	return f[0], key, flow
}

// delta returns what the complement of a checksum gains when words change.
func delta(fromTo ...uint32) uint16 {
	var sum uint64
	for i := 0; i < len(fromTo); i += 2 {
		from, to := fromTo[i], fromTo[i+1]
		sum += uint64(^uint16(from)) + uint64(^uint16(from>>16)) + uint64(uint16(to)) + uint64(uint16(to>>16))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum == 0xffff {
		return 0
	}
	return uint16(sum)
}

// entries returns what both flow tables hold, as text, and the packets and bytes
// that their entries count together.
func (w *world) entries() (lines []string, packets, bytes uint64, err error) {
	for _, table := range []string{bpf.MapFlows, bpf.MapFlowsNew} {
		var key bpf.FlowKey
		var flow bpf.Flow
		it := w.maps[table].Iterate()
		for it.Next(&key, &flow) {
			lines = append(lines, entryText(table, key, flow))
			packets += flow.Packets
			bytes += flow.Bytes
		}
		if err := it.Err(); err != nil {
			return nil, 0, 0, err
		}
	}
	copies, err := w.cached()
	for _, c := range copies { // that flows do not know of yet
		packets += uint64(c.Packets)
		bytes += c.Bytes
	}
	slices.Sort(lines)
	return lines, packets, bytes, err
}

func entryText(table string, key bpf.FlowKey, flow bpf.Flow) string {
	line := fmt.Sprintf("%s %s %s > %s = %s > %s %s", table, protoNames[key.Proto],
		nameOf(key.Saddr, key.Sport), nameOf(key.Daddr, key.Dport),
		nameOf(flow.Saddr, flow.Sport), nameOf(flow.Daddr, flow.Dport), stateNames[flow.State])
	for _, flag := range []uint8{bpf.FlowReply, bpf.FlowSeenFIN, bpf.FlowTaken, bpf.FlowUp, bpf.FlowPairUp, bpf.FlowAnswered} {
		if flow.Flags&flag != 0 {
			line += " " + flagNames[flag]
		}
	}
	return line
}
