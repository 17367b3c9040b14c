package plan

import (
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Step is one change, as a value: PutBackend, PutSlots, PutSource, PutService,
// PutVIP, DeleteService, DeleteSource, DeleteVIP, DeleteBackend or ReleaseService. Doing it twice is
// as good as once, and deleting what is absent is success.
type Step interface {
	// Of is the service that the step belongs to. When one step fails the
	// later ones of the same service must not be done. False for steps that
	// belong to none.
	Of() (v1.Frontend, bool)
}

// PutBackend writes a backend that no slot names yet, or changes how one
// that slots name is reached.
type PutBackend struct {
	ID      uint32
	Backend Backend
	For     v1.Frontend
}

// PutSlots writes a region that no service leads to.
type PutSlots struct {
	Region Region
	// IDs of backends, as many as the region has elements.
	IDs []uint32
	For v1.Frontend
}

// PutSource lets clients of a prefix come in, once the service is restricted.
type PutSource struct {
	// Service is an id.
	Service uint32
	Prefix  netip.Prefix
	For     v1.Frontend
}

// DeleteSource takes a prefix out. Flows that have come from there live on.
type DeleteSource struct {
	Service uint32
	Prefix  netip.Prefix
	// For is zero where the service is not known any more.
	For v1.Frontend
}

// PutService leads packets to the slots. IDs repeats the region's content for
// State.
type PutService struct {
	Frontend v1.Frontend
	Service  Service
	IDs      []uint32
}

// PutVIP makes an address ours, or gives it back to the kernel but for its flows (Retired).
type PutVIP struct {
	Address netip.Addr
	VIP     VIP
}

// DeleteService takes a frontend out. Its flows live on.
type DeleteService struct{ Frontend v1.Frontend }

// DeleteVIP takes out a retired address, which is the kernel's already. Flows that are of it
// still end half-way: it is for where there are none, or no room.
type DeleteVIP struct{ Address netip.Addr }

// DeleteBackend clears a backend that neither slots nor flows name; its id is
// free.
type DeleteBackend struct{ ID uint32 }

// ReleaseService frees the id of a deleted service that no flow names. It
// changes State alone, no map.
type ReleaseService struct{ Frontend v1.Frontend }

// Of returns the service for which the backend is written.
func (s PutBackend) Of() (v1.Frontend, bool) { return s.For, true }

// Of returns the service that will lead to the slots.
func (s PutSlots) Of() (v1.Frontend, bool) { return s.For, true }

// Of returns the service that lets them in.
func (s PutSource) Of() (v1.Frontend, bool) { return s.For, true }

// Of returns the service that let them in, if it is known.
func (s DeleteSource) Of() (v1.Frontend, bool) { return s.For, s.For != v1.Frontend{} }

// Of returns the service itself.
func (s PutService) Of() (v1.Frontend, bool) { return s.Frontend, true }

// Of returns the service itself.
func (s DeleteService) Of() (v1.Frontend, bool) { return s.Frontend, true }

// Of returns false: a VIP may have many services.
func (s PutVIP) Of() (v1.Frontend, bool) { return v1.Frontend{}, false }

// Of returns false: no service has the VIP any more.
func (s DeleteVIP) Of() (v1.Frontend, bool) { return v1.Frontend{}, false }

// Of returns false: no service has the backend any more.
func (s DeleteBackend) Of() (v1.Frontend, bool) { return v1.Frontend{}, false }

// Of returns false: the service is gone.
func (s ReleaseService) Of() (v1.Frontend, bool) { return v1.Frontend{}, false }
