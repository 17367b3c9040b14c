// Package loader loads the programs of all hooks over one set of maps.
package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/pin"
)

// MaxFlows bounds Options.MaxFlows: 16 M entries take 2 GiB when full.
const MaxFlows = 1 << 24

// minFlows keeps the LRU of half-open flows working: it hands out entries to
// CPUs in batches (LOCAL_FREE_TARGET, 128 each).
const minFlows = 4096

// Options for Load. The zero value loads both ingress hooks with the
// default sizes.
type Options struct {
	// MaxFlows is the size of the flow table in entries, two for each
	// connection, minFlows to MaxFlows. Half-open flows get a quarter more of
	// their own. Optional; zero means what the object says.
	MaxFlows uint32
	// WithoutXDP leaves the XDP program out.
	WithoutXDP bool
	// WithEgress loads the egress program too.
	WithEgress bool
	// Pins is where maps of an earlier run are adopted from and new ones are
	// pinned. Optional; without it they end with the process.
	Pins *pin.Folder
}

// Loaded holds programs and maps in the kernel. They live until Close, and
// beyond where a link or a filter still holds a program.
type Loaded struct {
	TC *ebpf.Program
	// XDP is nil with Options.WithoutXDP.
	XDP *ebpf.Program
	// Egress is nil without Options.WithEgress.
	Egress *ebpf.Program
	// Clock is the program that reads jiffies (bpf.Clock).
	Clock *ebpf.Program
	Maps  map[string]*ebpf.Map
	// Adopted tells that the flows of an earlier run are in the maps.
	Adopted bool

	collections []*ebpf.Collection
	specs       map[string]*ebpf.MapSpec // of the maps that are shared and pinned
}

// CheckMaxFlows tells whether Load would take the size.
func CheckMaxFlows(n uint32) error {
	if n != 0 && (n < minFlows || n > MaxFlows) {
		return fmt.Errorf("size flow table: %d entries are not within %d to %d", n, minFlows, MaxFlows)
	}
	return nil
}

// Load puts the programs into the kernel. It attaches nothing. When it fails
// nothing stays behind and what was pinned is as before; a *ebpf.VerifierError
// in the error has the verifier's whole log. Requires CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
func Load(o Options) (*Loaded, error) {
	if err := CheckMaxFlows(o.MaxFlows); err != nil {
		return nil, err
	}
	l := &Loaded{}
	if err := l.load(o); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// load pins last: programs that the kernel refuses leave no pins.
func (l *Loaded) load(o Options) error {
	if err := l.loadTC(o); err != nil {
		return err
	}
	if !o.WithoutXDP {
		if err := l.loadXDP(o); err != nil {
			return err
		}
	}
	if o.WithEgress {
		if err := l.loadEgress(o); err != nil {
			return err
		}
	}
	if o.Pins == nil {
		return nil
	}
	// Constants are the programs' own and change with them.
	shared := map[string]*ebpf.Map{}
	for _, name := range bpf.MapNames() {
		shared[name] = l.Maps[name]
	}
	return o.Pins.PinMaps(shared, l.specs)
}

func (l *Loaded) loadTC(o Options) error {
	spec, err := bpf.LoadTC()
	if err != nil {
		return fmt.Errorf("read BPF object: %w", err)
	}
	if err := resize(spec, o.MaxFlows); err != nil {
		return err
	}
	l.specs = map[string]*ebpf.MapSpec{}
	for _, name := range bpf.MapNames() {
		l.specs[name] = spec.Maps[name]
	}
	adopted, err := l.adopt(o.Pins)
	if err != nil {
		return err
	}
	defer pin.CloseMaps(adopted) // the collection has clones
	l.Adopted = adopted[bpf.MapFlows] != nil
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: adopted})
	if err != nil {
		return fmt.Errorf("load TC program: %w", withAdvice(err))
	}
	l.collections = append(l.collections, c)
	l.TC, l.Clock, l.Maps = c.Programs[bpf.ProgramTC], c.Programs[bpf.ProgramClock], c.Maps
	return nil
}

// adopt opens the maps that an earlier run has pinned.
func (l *Loaded) adopt(pins *pin.Folder) (map[string]*ebpf.Map, error) {
	if pins == nil {
		return nil, nil
	}
	return pins.Maps(l.specs)
}

// loadXDP shares the maps of TC. A kernel without multi-buffer XDP gets the
// program without it: only frames over a page are lost to XDP there.
func (l *Loaded) loadXDP(o Options) error {
	for _, frags := range []bool{true, false} {
		spec, err := bpf.LoadXDP()
		if err != nil {
			return fmt.Errorf("read BPF object: %w", err)
		}
		if err := resize(spec, o.MaxFlows); err != nil {
			return err
		}
		if !frags {
			spec.Programs[bpf.ProgramXDP].Flags &^= unix.BPF_F_XDP_HAS_FRAGS
		}
		c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: l.shared(spec)})
		if frags && errors.Is(err, unix.EINVAL) {
			continue
		}
		if err != nil {
			return fmt.Errorf("load XDP program: %w", err)
		}
		l.collections = append(l.collections, c)
		l.XDP = c.Programs[bpf.ProgramXDP]
		return nil
	}
	return nil
}

// loadEgress shares the maps of TC.
func (l *Loaded) loadEgress(o Options) error {
	spec, err := bpf.LoadEgress()
	if err != nil {
		return fmt.Errorf("read BPF object: %w", err)
	}
	if err := resize(spec, o.MaxFlows); err != nil {
		return err
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: l.shared(spec)})
	if err != nil {
		return fmt.Errorf("load egress program: %w", err)
	}
	l.collections = append(l.collections, c)
	l.Egress = c.Programs[bpf.ProgramEgress]
	return nil
}

// shared returns the maps of TC that the object uses too.
func (l *Loaded) shared(spec *ebpf.CollectionSpec) map[string]*ebpf.Map {
	maps := map[string]*ebpf.Map{}
	for _, name := range bpf.MapNames() {
		if spec.Maps[name] != nil {
			maps[name] = l.Maps[name]
		}
	}
	return maps
}

// withAdvice says what to do about an error that the machine's owner can mend.
func withAdvice(err error) error {
	if errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("%w; give a smaller --max-flows, or weir more memory", err)
	}
	return err
}

func resize(spec *ebpf.CollectionSpec, maxFlows uint32) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	if err := bpf.SizeCache(spec, cpus, bpf.CacheLines(cpus)); err != nil {
		return err
	}
	if maxFlows != 0 {
		spec.Maps[bpf.MapFlows].MaxEntries = maxFlows
		spec.Maps[bpf.MapFlowsNew].MaxEntries = maxFlows / 4
	}
	return nil
}

// Close lets go of programs and maps. Pinned maps stay.
func (l *Loaded) Close() error {
	for _, c := range l.collections {
		c.Close()
	}
	l.collections = nil
	return nil
}
