package bpf

import "github.com/cilium/ebpf"

// Names of the programs in their objects.
const (
	ProgramTC     = tcProgWeirTc         // object TC: SEC("tc"), ingress
	ProgramClock  = tcProgReadClock      // object TC: SEC("syscall"), argument Clock
	ProgramXDP    = xdpProgWeirXdp       // object XDP: SEC("xdp.frags")
	ProgramEgress = egressProgWeirEgress // object egress: SEC("tc"), egress
)

// Names of the maps. All objects have them; load the other objects with the
// maps of the first as ebpf.CollectionOptions.MapReplacements.
const (
	MapVIPs         = tcMapVips
	MapServices     = tcMapServices
	MapSlots        = tcMapSlots
	MapBackends     = tcMapBackends
	MapBackendAddrs = tcMapBackendAddrs
	MapLimits       = tcMapLimits
	MapRRNext       = tcMapRrNext
	MapSources      = tcMapSources
	MapAffinity     = tcMapAffinity
	MapNexthops     = tcMapNexthops
	MapDevices      = tcMapDevices
	MapFlows        = tcMapFlows
	MapFlowsNew     = tcMapFlowsNew
	MapCounters     = tcMapCounters
	MapConfig       = tcMapConfig
	MapCache        = tcMapCache
	MapStamps       = tcMapStamps
	MapEpoch        = tcMapEpoch
)

// MapNames returns the names of the maps that all objects share.
func MapNames() []string {
	return []string{
		MapVIPs, MapServices, MapSlots, MapBackends, MapBackendAddrs, MapLimits, MapRRNext, MapSources, MapAffinity, MapNexthops,
		MapDevices, MapFlows, MapFlowsNew, MapCounters, MapConfig, MapCache, MapStamps, MapEpoch,
	}
}

// LoadTC parses the object with the TC program and the clock.
func LoadTC() (*ebpf.CollectionSpec, error) { return loadTc() }

// LoadXDP parses the object with the XDP program. Its program has the flag
// BPF_F_XDP_HAS_FRAGS (Linux 5.18, and drivers that can); where attaching fails
// for it, clear the flag and load again: only jumbo frames are lost.
func LoadXDP() (*ebpf.CollectionSpec, error) { return loadXdp() }

// LoadEgress parses the object with the egress program.
func LoadEgress() (*ebpf.CollectionSpec, error) { return loadEgress() }
