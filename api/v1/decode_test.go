package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// compareAddresses lets cmp look at netip values, whose fields are hidden.
var compareAddresses = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

const wholeState = `{
	"generation": {"epoch": 3, "sequence": 7},
	"services": [{
		"name": "default/nginx-lb1", "vip": "123.123.123.1", "port": 55002, "protocol": "tcp",
		"mode": "fullnat", "algorithm": "rr", "block": 0, "monitor": true,
		"backends": [{"address": "192.168.80.101", "port": 32694, "weight": 2}]
	}],
	"bgp": {
		"asn": 64512, "routerID": "192.168.80.10", "nextHopSelf": true, "holdTime": 9,
		"peers": [{"address": "192.168.80.1", "asn": 65101, "role": "external"}],
		"vips": ["123.123.123.0/24"]
	},
	"roles": [{"vip": "123.123.123.1", "rank": 0, "nodes": 2}]
}`

func TestDecodeStateReadsEveryField(t *testing.T) {
	vip := netip.MustParseAddr("123.123.123.1")
	want := NodeState{
		Generation: Generation{Epoch: 3, Sequence: 7},
		Services: []Service{{
			Name: "default/nginx-lb1", Frontend: Frontend{VIP: vip, Port: 55002, Protocol: TCP},
			Mode: ModeFullNAT, Algorithm: RoundRobin, Monitor: true,
			Backends: []Backend{{Address: netip.MustParseAddr("192.168.80.101"), Port: 32694, Weight: 2}},
		}},
		BGP: &BGP{
			ASN: 64512, RouterID: netip.MustParseAddr("192.168.80.10"), NextHopSelf: true, HoldTime: 9,
			Peers: []Peer{{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101, Role: PeerExternal}},
			VIPs:  []netip.Prefix{netip.MustParsePrefix("123.123.123.0/24")},
		},
		Roles: []Role{{VIP: vip, Rank: 0, Nodes: 2}},
	}
	got, err := DecodeState([]byte(wholeState))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Error(diff)
	}
}

// refusals are bodies and what is said about them.
var refusals = []struct {
	name, body, path, message string
}{
	{"nothing", ``, "", "not JSON: line 1, column 1: unexpected end of JSON input"},
	{"half a body", "{\n \"services\": [", "", "not JSON: line 2, column 14: unexpected end of JSON input"},
	{"two values", `{} {}`, "", "not JSON: line 1, column 4: invalid character '{' after top-level value"},
	{"an array", `[]`, "", "expected an object, got an array"},
	{"a word", `true`, "", "expected an object, got true or false"},
	{"null", `null`, "", "expected an object, got null"},
	{"unknown field", `{"colour": 1}`, "colour", "unknown field"},
	{"unknown field in a service", `{"services": [{}, {"colour": "red"}]}`, "services[1].colour", "unknown field"},
	{"unknown field in an embedded struct", `{"services": [{"Frontend": {}}]}`, "services[0].Frontend", "unknown field"},
	{"unknown field behind others", `{"services": [{"name": "a\"}", "backends": [{"weight": 1}, {"x": [{"y": {}}]}]}]}`, "services[0].backends[1].x", "unknown field"},
	{"wrong case", `{"services": [{"VIP": "192.0.2.1"}]}`, "services[0].VIP", "unknown field, did you mean vip?"},
	{"escaped name", `{"\u0063olour": 1}`, "colour", "unknown field"},
	{"given twice", `{"bgp": {"asn": 1, "asn": 2}}`, "bgp.asn", "field given twice"},
	{"given twice, once escaped", `{"roles": [], "role\u0073": []}`, "roles", "field given twice"},
	{"text for a number", `{"services": [{"port": "80"}]}`, "services[0].port", `"80" is no whole number of 16 bits`},
	{"number for text", `{"services": [{"name": 1}]}`, "services[0].name", "1 is no string"},
	{"too large a number", `{"services": [{}, {"port": 65536}]}`, "services[1].port", "65536 is no whole number of 16 bits"},
	{"negative number", `{"bgp": {"asn": -1}}`, "bgp.asn", "-1 is no whole number of 32 bits"},
	{"fraction", `{"roles": [{"rank": 0.5}]}`, "roles[0].rank", "0.5 is no whole number"},
	{"object for true or false", `{"services": [{"monitor": {}}]}`, "services[0].monitor", "{} is no true or false"},
	{"object for a list", `{"services": {}}`, "services", "expected an array, got an object"},
	{"list for an object", `{"bgp": []}`, "bgp", "expected an object, got an array"},
	{"no address", `{"services": [{"vip": "banana"}]}`, "services[0].vip", `"banana": ParseAddr("banana"): unable to parse IP`},
	{"number for an address", `{"services": [{"vip": 1}]}`, "services[0].vip", "1 is no netip.Addr"},
	{"no prefix", `{"bgp": {"vips": ["10.0.0.0/33"]}}`, "bgp.vips[0]", `"10.0.0.0/33": netip.ParsePrefix("10.0.0.0/33"): prefix length out of range`},
}

func TestDecodeStateRefusesWithThePath(t *testing.T) {
	for _, r := range refusals {
		t.Run(r.name, func(t *testing.T) {
			_, err := DecodeState([]byte(r.body))
			field, ok := errors.AsType[*FieldError](err)
			if !ok {
				t.Fatalf("got %v, want a *FieldError", err)
			}
			if field.Path != r.path || field.Message != r.message {
				t.Errorf("got  %q: %q\nwant %q: %q", field.Path, field.Message, r.path, r.message)
			}
		})
	}
}

// FuzzDecode holds that an error is always a *FieldError with one line to say,
// and that what is accepted means the same after another trip over the wire.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(wholeState))
	f.Add([]byte(`{"services":null,"bgp":null}`))
	f.Add([]byte(`{"services":[{"backends":[]}],"roles":[],"bgp":{"vips":[],"peers":[],"accept":[]}}`))
	f.Add([]byte(` { } `))
	for _, r := range refusals {
		f.Add([]byte(r.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := DecodeState(body)
		if err != nil {
			field, ok := errors.AsType[*FieldError](err)
			if !ok || field.Message == "" || bytes.ContainsRune([]byte(field.Message), '\n') {
				t.Fatalf("error %#v is no one-line *FieldError", err)
			}
			return
		}
		wire, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeState(wire)
		if err != nil {
			t.Fatalf("%s: %v", wire, err)
		}
		if diff := cmp.Diff(s, again, compareAddresses); diff != "" {
			t.Fatal(diff)
		}
		// Validation must take whatever decodes.
		_ = ValidateState(s)
		for _, service := range s.Services {
			_ = ValidateService(service)
		}
	})
}

// BenchmarkDecode reads the largest state that weir is made for: 10 000
// services with 10 backends.
func BenchmarkDecode(b *testing.B) {
	var s NodeState
	for i := range 10_000 {
		service := Service{
			Name:     "default/service-with-a-name",
			Frontend: Frontend{VIP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Port: 80, Protocol: TCP},
			Mode:     ModeFullNAT,
		}
		for j := range 10 {
			service.Backends = append(service.Backends, Backend{Address: netip.AddrFrom4([4]byte{10, 1, 0, byte(j + 1)}), Port: 30000, Weight: 1})
		}
		s.Services = append(s.Services, service)
	}
	body, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := DecodeState(body); err != nil {
			b.Fatal(err)
		}
	}
}
