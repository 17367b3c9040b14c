package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Store holds the desired state of each owner and their merge. It is safe for
// concurrent use; the states in it are shared and never change.
type Store struct {
	mu      sync.Mutex
	states  map[string]v1.NodeState
	claims  Claims
	desired Desired
	// revision counts changes.
	revision uint64
	changed  chan struct{}
}

// NewStore returns a store that asks for what was saved, and announces that as
// a change, also where no owner was left: what an earlier run programmed has to
// go then. The zero Saved, of no earlier run, is no change.
func NewStore(saved Saved) *Store {
	s := &Store{states: map[string]v1.NodeState{}, claims: saved.Claims, changed: make(chan struct{}, 1)}
	maps.Copy(s.states, saved.States)
	s.desired, s.claims = Merge(s.states, s.claims)
	if saved.States != nil {
		s.changed <- struct{}{}
	}
	return s
}

// ConflictError refuses a state because a newer one of the same owner stands,
// or one of the same generation with other content, and a change because
// another state stands than the one that it is to.
type ConflictError struct {
	Owner         string
	Sent, Current v1.Generation
	// Base is what a change is to, nil for a whole state.
	Base *v1.Generation
}

// Error says what would be taken.
func (e *ConflictError) Error() string {
	if e.Base != nil {
		return fmt.Sprintf("owner %s holds generation %s, and the change is to %s; send the whole state", e.Owner, e.Current, *e.Base)
	}
	if e.Sent == e.Current {
		return fmt.Sprintf("generation %s of owner %s has other content already; send a higher generation", e.Sent, e.Owner)
	}
	return fmt.Sprintf("generation %s of owner %s is older than %s; send a higher generation", e.Sent, e.Owner, e.Current)
}

// Put replaces the owner's state. An older generation, and the same with other
// content, is a *ConflictError; the same with the same content changes
// nothing. The owner's name and the parts that concern the node as a whole
// must have passed v1.ValidateOwner and v1.ValidateState. The store keeps
// state; the caller must not change it afterwards.
func (s *Store) Put(owner string, state v1.NodeState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current, ok := s.states[owner]; ok {
		switch order := state.Generation.Compare(current.Generation); {
		case order == 0 && equal(state, current):
			return nil
		case order <= 0:
			return &ConflictError{Owner: owner, Sent: state.Generation, Current: current.Generation}
		}
	}
	s.states[owner] = state
	s.merge()
	return nil
}

// Patch changes the owner's state, and returns the new one. A change to
// another state than the one that stands is a *ConflictError; an owner without
// a state holds the zero one. The change must have passed v1.ValidateChange.
// The store keeps what is in it; the caller must not change that afterwards.
func (s *Store) Patch(owner string, change v1.NodeChange) (v1.NodeState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.states[owner]
	if current.Generation != change.Base {
		return v1.NodeState{}, &ConflictError{Owner: owner, Sent: change.Generation, Current: current.Generation, Base: &change.Base}
	}
	next := change.Apply(current)
	s.states[owner] = next
	s.merge()
	return next, nil
}

// ErrNoOwner says that an owner has no state.
var ErrNoOwner = errors.New("no such owner")

func noOwner(owner string) error {
	return fmt.Errorf("%w: %q has no state here; see GET /v1/owners", ErrNoOwner, owner)
}

// Delete forgets an owner and its generation: it may start over. An owner
// without a state is ErrNoOwner.
func (s *Store) Delete(owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.states[owner]; !ok {
		return noOwner(owner)
	}
	delete(s.states, owner)
	s.merge()
	return nil
}

// merge follows a change of states; the caller holds the lock.
func (s *Store) merge() {
	s.revision++
	s.desired, s.claims = Merge(s.states, s.claims)
	select {
	case s.changed <- struct{}{}:
	default: // a change is announced already; its receiver will see this one
	}
}

// Revision counts the changes since the store was made.
func (s *Store) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// Saved returns what a restart must know, with its revision.
func (s *Store) Saved() (Saved, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Saved{States: maps.Clone(s.states), Claims: s.claims}, s.revision
}

// States returns the state of each owner.
func (s *Store) States() map[string]v1.NodeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.states)
}

// Desired returns the merge of all owners.
func (s *Store) Desired() Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.desired
}

// Changed yields a value after one or more changes since the last receive. It
// serves one receiver, who then reads Desired.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// equal compares what two states say: an empty list and none are the same.
func equal(a, b v1.NodeState) bool {
	if v1.EqualStates(a, b) {
		return true
	}
	ja, erra := json.Marshal(a)
	jb, errb := json.Marshal(b)
	return erra == nil && errb == nil && bytes.Equal(ja, jb)
}
