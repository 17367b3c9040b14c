// Package apply does the steps of a plan. It decides nothing: what failed is
// told, and the next plan contains it again.
package apply

import (
	"fmt"
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/dataplane/plan"
)

// Maps is what steps write to. A method that returns an error has changed
// nothing that a packet can see; calling it again is safe. *maps.Maps is the
// real one.
type Maps interface {
	PutVIP(netip.Addr, plan.VIP) error
	// DeleteVIP and DeleteService succeed for what is absent.
	DeleteVIP(netip.Addr) error
	PutService(v1.Frontend, plan.Service) error
	DeleteService(v1.Frontend) error
	// PutBackend with the zero Backend clears the element.
	PutBackend(id uint32, b plan.Backend) error
	PutSlots(offset uint32, ids []uint32) error
	// DeleteSource succeeds for what is absent. service is an id.
	PutSource(service uint32, prefix netip.Prefix) error
	DeleteSource(service uint32, prefix netip.Prefix) error
}

// Failures says what could not be written. The zero value is success.
type Failures struct {
	// Services has the first error of each service.
	Services map[v1.Frontend]error
	// VIPs has the error of each address.
	VIPs map[netip.Addr]error
	// Backends that could not be cleared stay until a later plan.
	Backends map[uint32]error
}

// None says that everything was written.
func (f Failures) None() bool { return len(f.Services)+len(f.VIPs)+len(f.Backends) == 0 }

// Run does steps in order and commits each one that succeeded to state with
// the time that clock gives. After a step has failed the later ones of the
// same service are left out; all others go on.
func Run(steps []plan.Step, maps Maps, state *plan.State, clock func() time.Time) Failures {
	failed := Failures{
		Services: map[v1.Frontend]error{},
		VIPs:     map[netip.Addr]error{},
		Backends: map[uint32]error{},
	}
	for _, step := range steps {
		f, owned := step.Of()
		if owned && failed.Services[f] != nil {
			continue
		}
		if err := do(step, maps); err != nil {
			failed.add(step, err)
			continue
		}
		state.Commit(step, clock())
	}
	return failed
}

func (f *Failures) add(step plan.Step, err error) {
	switch s := step.(type) {
	case plan.PutVIP:
		f.VIPs[s.Address] = err
	case plan.DeleteVIP:
		f.VIPs[s.Address] = err
	case plan.DeleteBackend:
		f.Backends[s.ID] = err
	default:
		of, _ := step.Of()
		f.Services[of] = err
	}
}

func do(step plan.Step, maps Maps) error {
	switch s := step.(type) {
	case plan.PutBackend:
		return maps.PutBackend(s.ID, s.Backend)
	case plan.PutSlots:
		return maps.PutSlots(s.Region.Offset, s.IDs)
	case plan.PutSource:
		return maps.PutSource(s.Service, s.Prefix)
	case plan.DeleteSource:
		return maps.DeleteSource(s.Service, s.Prefix)
	case plan.PutService:
		return maps.PutService(s.Frontend, s.Service)
	case plan.PutVIP:
		return maps.PutVIP(s.Address, s.VIP)
	case plan.DeleteService:
		return maps.DeleteService(s.Frontend)
	case plan.DeleteVIP:
		return maps.DeleteVIP(s.Address)
	case plan.DeleteBackend:
		return maps.PutBackend(s.ID, plan.Backend{})
	case plan.ReleaseService:
		return nil
	}
	return fmt.Errorf("step %T is unknown", step)
}
