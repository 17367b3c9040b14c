package dataplane

import (
	"errors"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/apply"
	"github.com/weir-lb/weir/dataplane/flow"
	"github.com/weir-lb/weir/dataplane/health"
	"github.com/weir-lb/weir/dataplane/hook"
	"github.com/weir-lb/weir/dataplane/loader"
	"github.com/weir-lb/weir/dataplane/maps"
	"github.com/weir-lb/weir/dataplane/nexthop"
	"github.com/weir-lb/weir/dataplane/pin"
	"github.com/weir-lb/weir/dataplane/plan"
	"github.com/weir-lb/weir/dataplane/uplink"
)

// Options for New. The zero value serves on all of the node's own interfaces.
type Options struct {
	// Hook is where packets are taken: "auto", "xdp" or "tc" (hook.Choice).
	// Optional; empty means "auto".
	Hook string
	// Blacklist and Whitelist match names of interfaces to leave alone, and
	// of the only ones to use. Optional; without both, container networks
	// are left alone.
	Blacklist, Whitelist *regexp.Regexp
	// EgressHooks serves what starts or ends on this node too: the node and its
	// pods as clients of a VIP, and backends on the node. Optional; without it
	// backends on this node are not used.
	EgressHooks bool
	// MaxFlows is the size of the flow table in entries, two for each
	// connection: 4096 to 16777216. Optional; zero means 1048576.
	MaxFlows uint32
	// PinDir is the folder of pins (package pin) by which programs go on
	// forwarding after this process has ended, and the next one adopts them.
	// Optional; without it everything ends with the process.
	PinDir string
	// Health is how often backends of services with Monitor are probed.
	// Optional; the zero value means health.Defaults.
	Health health.Timing
}

// Dataplane serves in the network namespace of the process. Its methods are
// safe for concurrent use.
type Dataplane struct {
	pins   *pin.Folder // nil without Options.PinDir
	ns     *os.File    // claimed
	loaded *loader.Loaded
	maps   *maps.Maps
	// writes is where plans are written: maps, which tests let fail.
	writes apply.Maps
	hooks  *hook.Hooks
	keeper *nexthop.Keeper
	flows  *flow.Table
	health *health.Monitor
	// uplinks is nil without Options.EgressHooks.
	uplinks *uplink.Keeper
	fill    flow.Fill
	// crowdedPorts is what keepApart could not do, nil where it could.
	crowdedPorts []v1.Condition
	// forget has an element when flows of backends that are gone must go.
	forget chan struct{}
	// pace is of the goroutine that sweeps.
	pace flow.Pace
	// nodeAddresses is desired.NodeAddresses, for probes: they cannot wait
	// for mu, which an Apply holds for as long as it takes.
	nodeAddresses atomic.Pointer[map[netip.Addr]netip.Addr]

	// changed receives when a backend's state has changed.
	changed chan struct{}

	mu       sync.Mutex
	closed   bool
	verdicts *health.File // nil without KeepVerdicts
	state    *plan.State
	// desired is what Apply got last, with what nexthop and health know of it.
	desired plan.Desired
	paths   nexthop.Paths
	// routeless has why VIPs have no route of this node's own.
	routeless map[netip.Addr]error
	// told is true from the first Apply on: before that nobody has said what
	// is desired, and what an earlier run has programmed stays as it is.
	told bool
	// outcome of each desired service, in the same order.
	outcome []outcome
	// gone are the backends whose flows forget was asked to remove last.
	gone map[uint32]bool
	// scan is what the last sweep saw.
	scan plan.Scan
	// again says that a write failed, waiting that a service had no room.
	again, waiting bool
}

// New loads the programs and attaches them. The caller runs Run, and Close or
// Stop when that has ended. With pins New takes over what an earlier run has
// left, services and flows, while it serves. When New fails nothing stays
// behind, or what was pinned serves on; Preflight tells beforehand why it
// would. Requires at least Linux 6.1.
func New(o Options) (*Dataplane, error) {
	choice, err := hook.ParseChoice(o.Hook)
	if err != nil {
		return nil, err
	}
	d := &Dataplane{state: plan.NewState(), changed: make(chan struct{}, 1), forget: make(chan struct{}, 1)}
	d.health = health.New(&health.Network{Taken: d.taken}, o.Health)
	if err := d.open(o, choice); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// open attaches last: until then nothing has touched a packet.
func (d *Dataplane) open(o Options, choice hook.Choice) error {
	var err error
	if o.PinDir != "" {
		if d.pins, err = pin.Open(o.PinDir); err != nil {
			return err
		}
	}
	d.loaded, err = loader.Load(loader.Options{MaxFlows: o.MaxFlows, WithoutXDP: choice == hook.TC, WithEgress: o.EgressHooks, Pins: d.pins})
	if err != nil {
		return err
	}
	if d.maps, err = maps.New(d.loaded.Maps); err != nil {
		return err
	}
	d.writes = d.maps
	if d.ns, err = claim(); err != nil {
		return err
	}
	if err := d.adopt(); err != nil {
		return err
	}
	if err := d.keepApart(); err != nil {
		return err
	}
	clock, err := flow.NewClock(d.loaded.Clock)
	if err != nil {
		return err
	}
	d.flows = flow.New(d.maps, clock, d.maps.FlowCapacity())
	if d.keeper, err = nexthop.New(d.maps); err != nil {
		return err
	}
	d.hooks, err = hook.New(hook.Options{
		TC: d.loaded.TC, XDP: d.loaded.XDP, Egress: d.loaded.Egress, Choice: choice, Devices: d.maps, Pins: d.pins,
		Filter: hook.Filter{Blacklist: o.Blacklist, Whitelist: o.Whitelist},
	})
	if err != nil {
		return err
	}
	if !o.EgressHooks {
		return uplink.Clean()
	}
	d.uplinks, err = uplink.New(d.hooks.SeesEgress)
	return err
}

// FlowTable returns how full the table of established flows was at the last sweep.
func (d *Dataplane) FlowTable() v1.FlowTable { return d.fill.Table() }

// Conditions returns what is not as it should be with the dataplane as a whole.
func (d *Dataplane) Conditions() []v1.Condition {
	return slices.Concat(d.fill.Conditions(), d.hooks.Conditions(), d.crowdedPorts)
}

// Interfaces returns all interfaces of the node and what is attached to them.
func (d *Dataplane) Interfaces() []v1.Interface { return d.hooks.Interfaces() }
