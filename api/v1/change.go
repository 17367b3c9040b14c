package v1

import (
	"fmt"
)

// NodeChange turns one state of an owner into its next: PATCH
// /v1/state/{owner}. It is for one endpoint's change among 10 000 services,
// whose whole state is 10 MB. That BGP stops, or whether the node is drained,
// takes a whole state.
type NodeChange struct {
	// Base is the generation that the change is to. A node that does not hold
	// exactly that answers with a conflict: send the whole state.
	Base Generation `json:"base"`
	// Generation of the state after the change, newer than Base.
	Generation Generation `json:"generation"`
	// Upsert are the services that are new or differ, each whole.
	Upsert []Service `json:"upsert,omitempty"`
	// Remove names the services that go. One that is not there is no error.
	Remove []Frontend `json:"remove,omitempty"`
	// BGP replaces the configuration; absent leaves it.
	BGP *BGP `json:"bgp,omitempty"`
	// Roles replaces all roles, with none when it is empty; absent leaves
	// them.
	Roles []Role `json:"roles,omitzero"`
}

// DecodeChange reads a NodeChange as DecodeState reads a NodeState. It does
// not validate: see ValidateChange.
func DecodeChange(data []byte) (NodeChange, error) {
	var c NodeChange
	if err := decodeStrict(data, &c); err != nil {
		return NodeChange{}, err
	}
	return c, nil
}

// ValidateChange checks what concerns the change as a whole. Bad services are
// ValidateService's concern, once they are part of a state.
func ValidateChange(c NodeChange) error {
	if c.Generation.Compare(c.Base) <= 0 {
		return &FieldError{"generation", fmt.Sprintf("%s is not newer than base %s", c.Generation, c.Base)}
	}
	upserted := make(map[Frontend]int, len(c.Upsert))
	for i, s := range c.Upsert {
		upserted[s.Frontend] = i
	}
	for i, f := range c.Remove {
		if j, ok := upserted[f]; ok {
			return &FieldError{fmt.Sprintf("remove[%d]", i), fmt.Sprintf("%s is upsert[%d]; give it once", f, j)}
		}
	}
	return ValidateState(NodeState{BGP: c.BGP, Roles: c.Roles})
}

// Apply returns the state that c makes of s. Services that stay keep their
// order, new ones follow. It shares the lists of both.
func (c NodeChange) Apply(s NodeState) NodeState {
	gone := make(map[Frontend]struct{}, len(c.Remove)+len(c.Upsert))
	for _, f := range c.Remove {
		gone[f] = struct{}{}
	}
	for _, u := range c.Upsert {
		gone[u.Frontend] = struct{}{}
	}
	services := make([]Service, 0, len(s.Services)+len(c.Upsert))
	for _, old := range s.Services {
		if _, ok := gone[old.Frontend]; !ok {
			services = append(services, old)
		}
	}
	s.Generation, s.Services = c.Generation, append(services, c.Upsert...)
	if c.BGP != nil {
		s.BGP = c.BGP
	}
	if c.Roles != nil {
		s.Roles = c.Roles
	}
	return s
}
