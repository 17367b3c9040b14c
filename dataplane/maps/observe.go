package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/weir-lb/weir/bpf"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Observe reads what a plan fills and returns it as the steps that would have
// written it: committed to plan.NewState they give the state of the maps, so
// that a plan can start from maps that it has not filled itself. It costs a
// system call for each VIP, service and used slot, and some for the backends. A service whose slots lie
// outside the map is an error.
func (m *Maps) Observe() ([]plan.Step, error) {
	steps, err := m.observeBackends()
	if err != nil {
		return nil, err
	}
	sources, err := m.observeSources()
	if err != nil {
		return nil, err
	}
	steps = append(steps, sources...)
	var key bpf.ServiceKey
	var value bpf.Service
	services := m.services.Iterate()
	for services.Next(&key, &value) {
		s := serviceIn(value)
		ids, err := m.observeSlots(s.Slots)
		if err != nil {
			return nil, fmt.Errorf("read service %s: %w", serviceKeyIn(key), err)
		}
		f := serviceKeyIn(key)
		steps = append(steps, plan.PutService{Frontend: f, Service: s, IDs: ids})
	}
	if err := services.Err(); err != nil {
		return nil, fmt.Errorf("read services: %w", err)
	}
	var address uint32
	var vip bpf.VIP
	vips := m.vips.Iterate()
	for vips.Next(&address, &vip) {
		steps = append(steps, plan.PutVIP{Address: bpf.AddrFrom(address), VIP: vipIn(vip)})
	}
	if err := vips.Err(); err != nil {
		return nil, fmt.Errorf("read VIPs: %w", err)
	}
	return steps, nil
}

func (m *Maps) observeSources() ([]plan.Step, error) {
	var steps []plan.Step
	var key bpf.SourceKey
	var value uint32
	all := m.sources.Iterate()
	for all.Next(&key, &value) {
		service, prefix := sourceKeyIn(key)
		steps = append(steps, plan.PutSource{Service: service, Prefix: prefix})
	}
	if err := all.Err(); err != nil {
		return nil, fmt.Errorf("read source ranges: %w", err)
	}
	return steps, nil
}

func (m *Maps) observeBackends() ([]plan.Step, error) {
	var steps []plan.Step
	ids, values := make([]uint32, 4096), make([]bpf.Backend, 4096)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.backends.BatchLookup(&cursor, ids, values, nil)
		for i := range n {
			if ids[i] != 0 && values[i] != (bpf.Backend{}) {
				steps = append(steps, plan.PutBackend{ID: ids[i], Backend: backendIn(values[i])})
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return steps, nil // the end
		}
		if err != nil {
			return nil, fmt.Errorf("read backends: %w", err)
		}
	}
}

func (m *Maps) observeSlots(r plan.Region) ([]uint32, error) {
	if uint64(r.Offset)+uint64(r.Count) > uint64(m.slots.MaxEntries()) {
		return nil, fmt.Errorf("slots %s lie outside of the map", r)
	}
	ids := make([]uint32, r.Count)
	for i := range ids {
		if err := m.slots.Lookup(r.Offset+uint32(i), &ids[i]); err != nil {
			return nil, fmt.Errorf("read slot %d: %w", r.Offset+uint32(i), err)
		}
	}
	return ids, nil
}
