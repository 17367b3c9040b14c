package packettest

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/bpf"
)

// objects are all programs, loaded over one set of maps.
type objects struct {
	collections []*ebpf.Collection
	programs    map[bpf.Hook]*ebpf.Program
	readClock   *ebpf.Program
	maps        map[string]*ebpf.Map
}

// loaded are the objects of all tests, which run one after another: the verifier needs
// most of the time of a test, and seconds on an emulated machine. What a test finds in
// the maps is of the one before until it calls program.
var loaded = sync.OnceValues(load)

// cacheLines of each CPU are so few that flows of most tests share some.
const cacheLines = 64

// load loads all objects with small tables over the same maps.
func load() (*objects, error) {
	o := &objects{programs: make(map[bpf.Hook]*ebpf.Program), maps: make(map[string]*ebpf.Map)}
	for _, object := range []struct {
		hook      bpf.Hook
		program   string
		file      string
		committed func() (*ebpf.CollectionSpec, error)
	}{
		{bpf.HookTC, bpf.ProgramTC, "tc_bpfel.o", bpf.LoadTC},
		{bpf.HookXDP, bpf.ProgramXDP, "xdp_bpfel.o", bpf.LoadXDP},
		{bpf.HookEgress, bpf.ProgramEgress, "egress_bpfel.o", bpf.LoadEgress},
	} {
		spec, err := parse(object.file, object.committed)
		if err == nil {
			err = shrink(spec)
		}
		if err == nil {
			err = o.add(spec)
		}
		if err != nil {
			o.close()
			return nil, err
		}
		o.programs[object.hook] = o.collections[len(o.collections)-1].Programs[object.program]
	}
	o.readClock = o.collections[0].Programs[bpf.ProgramClock]
	return o, nil
}

// objectsFolder names the folder of objects to test in place of the committed ones, which have the same layouts:
// ci/mutants.sh tests many, and to build a program with each would take longer than its tests do.
const objectsFolder = "WEIR_OBJECTS"

// parse takes the object in objectsFolder, if that is set.
func parse(file string, committed func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	if folder := os.Getenv(objectsFolder); folder != "" {
		return ebpf.LoadCollectionSpec(filepath.Join(folder, file))
	}
	return committed()
}

func shrink(spec *ebpf.CollectionSpec) error {
	for _, name := range []string{bpf.MapFlows, bpf.MapFlowsNew, bpf.MapSlots, bpf.MapBackends, bpf.MapServices} {
		spec.Maps[name].MaxEntries = 16384
	}
	return bpf.SizeCache(spec, ebpf.MustPossibleCPU(), cacheLines)
}

// add loads an object over the maps of the first.
func (o *objects) add(spec *ebpf.CollectionSpec) error {
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: o.maps})
	if err != nil {
		return err
	}
	o.collections = append(o.collections, c)
	if len(o.collections) == 1 {
		for _, name := range bpf.MapNames() {
			o.maps[name] = c.Maps[name]
		}
	}
	return nil
}

func (o *objects) close() {
	for _, c := range o.collections {
		c.Close()
	}
}
