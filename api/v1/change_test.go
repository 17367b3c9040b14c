package v1

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changed is a state of generation 1.sequence with a service per port.
func changed(sequence uint64, ports ...uint16) NodeState {
	s := NodeState{Generation: Generation{1, sequence}}
	for _, p := range ports {
		s.Services = append(s.Services, portService(p))
	}
	return s
}

func portService(port uint16) Service {
	s := goodService()
	s.Port = port
	return s
}

func TestChangeApply(t *testing.T) {
	role := []Role{{VIP: netip.MustParseAddr("192.0.2.1"), Nodes: 1}}
	bgp := &BGP{ASN: 64512}
	moved := portService(2)
	moved.Mode = ModeOneArm
	full := changed(4, 1, 2, 3)
	full.BGP, full.Roles = bgp, role
	to := func(edit func(*NodeState), ports ...uint16) NodeState {
		s := changed(5, ports...)
		s.BGP, s.Roles = bgp, role
		edit(&s)
		return s
	}
	none := func(*NodeState) {}
	rows := []struct {
		name   string
		change NodeChange
		want   NodeState
	}{
		{"nothing but the generation", NodeChange{}, to(none, 1, 2, 3)},
		{"a new service", NodeChange{Upsert: []Service{portService(4)}}, to(none, 1, 2, 3, 4)},
		{"a changed service", NodeChange{Upsert: []Service{moved}}, to(func(s *NodeState) { s.Services = append(s.Services, moved) }, 1, 3)},
		{"a service less", NodeChange{Remove: []Frontend{portService(2).Frontend}}, to(none, 1, 3)},
		{"a service that is not there", NodeChange{Remove: []Frontend{portService(9).Frontend}}, to(none, 1, 2, 3)},
		{"other BGP", NodeChange{BGP: &BGP{ASN: 1}}, to(func(s *NodeState) { s.BGP = &BGP{ASN: 1} }, 1, 2, 3)},
		{"no roles", NodeChange{Roles: []Role{}}, to(func(s *NodeState) { s.Roles = nil }, 1, 2, 3)},
	}
	for _, r := range rows {
		r.change.Base, r.change.Generation = Generation{1, 4}, Generation{1, 5}
		before := changed(4, 1, 2, 3)
		if diff := cmp.Diff(r.want, r.change.Apply(full), compareAddresses); diff != "" {
			t.Errorf("%s: %s", r.name, diff)
		}
		if diff := cmp.Diff(before.Services, full.Services, compareAddresses); diff != "" {
			t.Fatalf("%s changed the state before: %s", r.name, diff)
		}
	}
}

func TestValidateChange(t *testing.T) {
	newer := NodeChange{Base: Generation{1, 4}, Generation: Generation{1, 5}}
	with := func(edit func(*NodeChange)) NodeChange {
		c := newer
		edit(&c)
		return c
	}
	rows := []struct {
		name          string
		change        NodeChange
		path, message string
	}{
		{"as it should be", newer, "", ""},
		{"a bad service is its own affair", with(func(c *NodeChange) { c.Upsert = []Service{{}} }), "", ""},
		{"to the same generation", with(func(c *NodeChange) { c.Generation = c.Base }), "generation", "1.4 is not newer than base 1.4"},
		{"to an older one", with(func(c *NodeChange) { c.Generation = Generation{0, 9} }), "generation", "0.9 is not newer"},
		{"added and removed", with(func(c *NodeChange) {
			c.Upsert, c.Remove = []Service{portService(1)}, []Frontend{portService(2).Frontend, portService(1).Frontend}
		}), "remove[1]", "192.0.2.1:1/tcp is upsert[0]"},
		{"BGP that cannot be", with(func(c *NodeChange) { c.BGP = &BGP{} }), "bgp.asn", "0 is no AS number"},
		{"a role that cannot be", with(func(c *NodeChange) { c.Roles = []Role{{}} }), "roles[0].vip", "no address"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { checkField(t, ValidateChange(r.change), r.path, r.message) })
	}
}

func TestDecodeChange(t *testing.T) {
	c, err := DecodeChange([]byte(`{"base":{"epoch":1,"sequence":4},"generation":{"epoch":1,"sequence":5},
		"upsert":[{"vip":"192.0.2.1","port":80,"protocol":"tcp","mode":"fullnat"}],
		"remove":[{"vip":"192.0.2.1","port":81,"protocol":"udp"}],"roles":[]}`))
	if err != nil || c.Base.Sequence != 4 || c.Generation.Sequence != 5 || c.Upsert[0].Port != 80 ||
		c.Remove[0].Protocol != UDP || c.BGP != nil || c.Roles == nil {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = DecodeChange([]byte(`{"remove":[{"vip":"192.0.2.1"},{"name":"a"}]}`))
	checkField(t, err, "remove[1].name", "unknown field")
	_, err = DecodeChange([]byte(`{"base":7}`))
	checkField(t, err, "base", "expected an object, got a number")
}

// FuzzDecodeChange is FuzzDecode for changes.
func FuzzDecodeChange(f *testing.F) {
	f.Add([]byte(`{"base":{"epoch":1,"sequence":5},"generation":{"epoch":1,"sequence":6},"upsert":[{"vip":"192.0.2.1","port":80,"protocol":"tcp"}]}`))
	f.Add([]byte(`{"remove":[{"vip":"::1","port":80,"protocol":"tcp"}],"roles":null,"bgp":{"accept":[]}}`))
	f.Add([]byte(`{"generation":{"sequence":1},"upsert":[{},{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := DecodeChange(body)
		if err == nil {
			err = ValidateChange(c)
		}
		if field, ok := errors.AsType[*FieldError](err); err != nil && (!ok || field.Message == "") {
			t.Fatalf("error %#v is no *FieldError", err)
		}
	})
}
