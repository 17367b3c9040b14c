package agent

import (
	"errors"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

// announced tells whether the store announced a change, and takes it.
func announced(s *Store) bool {
	select {
	case <-s.Changed():
		return true
	default:
		return false
	}
}

func TestPutKeepsTheOrderOfGenerations(t *testing.T) {
	at := func(epoch, sequence uint64, ports ...uint16) v1.NodeState {
		s := v1.NodeState{Generation: v1.Generation{Epoch: epoch, Sequence: sequence}}
		for _, p := range ports {
			s.Services = append(s.Services, service("192.0.2.1", p))
		}
		return s
	}
	rows := []struct {
		name              string
		before, put       v1.NodeState
		conflict, changed bool
	}{
		{"newer", at(1, 1, 1), at(1, 2, 2), false, true},
		{"newer with the same content", at(1, 1, 1), at(1, 2, 1), false, true},
		{"newer epoch, lower sequence", at(1, 9, 1), at(2, 1, 2), false, true},
		{"older", at(1, 2, 1), at(1, 1, 2), true, false},
		{"older with the same content", at(1, 2, 1), at(1, 1, 1), true, false},
		{"older epoch, higher sequence", at(2, 1, 1), at(1, 9, 2), true, false},
		{"equal with the same content", at(1, 1, 1), at(1, 1, 1), false, false},
		{"equal with other content", at(1, 1, 1), at(1, 1, 2), true, false},
		{"equal, an empty list for none", at(1, 1), v1.NodeState{Generation: v1.Generation{Epoch: 1, Sequence: 1}, Services: []v1.Service{}}, false, false},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			s := NewStore(Saved{})
			if err := s.Put("controller", r.before); err != nil {
				t.Fatal(err)
			}
			announced(s)
			err := s.Put("controller", r.put)
			conflict, isConflict := errors.AsType[*ConflictError](err)
			if isConflict != r.conflict || err != nil && !isConflict {
				t.Fatalf("got error %v, want conflict %v", err, r.conflict)
			}
			if isConflict && conflict.Current != r.before.Generation {
				t.Errorf("conflict carries %s, want %s", conflict.Current, r.before.Generation)
			}
			if got := announced(s); got != r.changed {
				t.Errorf("change announced: %v, want %v", got, r.changed)
			}
			want := r.before
			if r.changed {
				want = r.put
			}
			if got := s.States()["controller"]; got.Generation != want.Generation || !equal(got, want) {
				t.Errorf("store holds %v, want %v", got, want)
			}
		})
	}
}

func TestPutReplacesOnlyItsOwner(t *testing.T) {
	s := NewStore(Saved{})
	for owner, port := range map[string]uint16{"controller": 1, "netlox": 2} {
		if err := s.Put(owner, state(1, service("192.0.2.1", port))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put("controller", state(2)); err != nil {
		t.Fatal(err)
	}
	if got := picture(s.Desired()); got != "netlox:2" {
		t.Errorf("got %s, want netlox:2", got)
	}
}

func TestManyChangesAreAnnouncedOnce(t *testing.T) {
	s := NewStore(Saved{})
	for i := range uint64(10) {
		if err := s.Put("controller", state(i+1, service("192.0.2.1", uint16(i+1)))); err != nil {
			t.Fatal(err)
		}
	}
	if !announced(s) || announced(s) {
		t.Error("ten changes nobody looked at are not exactly one announcement")
	}
	if got := picture(s.Desired()); got != "controller:10" {
		t.Errorf("got %s, want controller:10", got)
	}
}

func TestPatchIsToTheStateThatStands(t *testing.T) {
	at := func(sequence uint64) v1.Generation { return v1.Generation{Sequence: sequence} }
	change := func(base, to uint64, port uint16) v1.NodeChange {
		return v1.NodeChange{Base: at(base), Generation: at(to), Upsert: []v1.Service{service("192.0.2.1", port)}}
	}
	s := NewStore(Saved{})
	if _, err := s.Patch("controller", change(0, 1, 1)); err != nil {
		t.Fatalf("a change to nothing: %v", err)
	}
	if next, err := s.Patch("controller", change(1, 4, 2)); err != nil || next.Generation != at(4) || len(next.Services) != 2 {
		t.Fatalf("got %+v, %v", next, err)
	}
	announced(s)
	for _, base := range []uint64{0, 1, 3, 5} {
		_, err := s.Patch("controller", change(base, 9, 3))
		conflict, ok := errors.AsType[*ConflictError](err)
		if !ok || conflict.Current != at(4) {
			t.Errorf("a change to %d: got %v, want a conflict with 0.4", base, err)
		}
	}
	if announced(s) || picture(s.Desired()) != "controller:1, controller:2" {
		t.Errorf("a refused change did something: %s", picture(s.Desired()))
	}
}

func TestADeletedOwnerGivesUpWhatItHad(t *testing.T) {
	s := NewStore(Saved{})
	for _, owner := range []string{"netlox", "controller"} {
		if err := s.Put(owner, state(5, service("192.0.2.1", 1))); err != nil {
			t.Fatal(err)
		}
	}
	announced(s)
	if err := s.Delete("netlox"); err != nil || !announced(s) {
		t.Fatalf("deleted: %v, or not announced", err)
	}
	if got := picture(s.Desired()); got != "controller:1" {
		t.Errorf("got %s, want controller:1", got)
	}
	if err := s.Delete("netlox"); !errors.Is(err, ErrNoOwner) {
		t.Errorf("deleted twice: %v", err)
	}
	if err := s.Put("netlox", state(1)); err != nil {
		t.Errorf("it cannot start over: %v", err)
	}
}
