package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

func service(vip string, port uint16) v1.Service {
	return v1.Service{
		Name:     fmt.Sprintf("default/s%d", port),
		Frontend: v1.Frontend{VIP: netip.MustParseAddr(vip), Port: port, Protocol: v1.TCP},
		Mode:     v1.ModeFullNAT,
		Backends: []v1.Backend{{Address: netip.MustParseAddr("198.51.100.1"), Port: 30000}},
	}
}

func state(sequence uint64, services ...v1.Service) v1.NodeState {
	return v1.NodeState{Generation: v1.Generation{Sequence: sequence}, Services: services}
}

// picture prints a merge in few words: who has which port, what is refused
// and why.
func picture(d Desired) string {
	var words []string
	for _, s := range d.Services {
		words = append(words, fmt.Sprintf("%s:%d", d.Owners[s.Frontend], s.Port))
	}
	for _, s := range d.Refused {
		words = append(words, fmt.Sprintf("%s:%d %s", s.Owner, s.Port, s.Conditions[0].Reason))
	}
	for _, r := range d.Roles {
		words = append(words, fmt.Sprintf("rank %d for %s", r.Rank, r.VIP))
	}
	if d.BGP != nil {
		words = append(words, fmt.Sprintf("as %d", d.BGP.ASN))
	}
	if d.Drained {
		words = append(words, "drained")
	}
	for _, c := range d.Conditions {
		words = append(words, c.Reason)
	}
	return strings.Join(words, ", ")
}

func TestMerge(t *testing.T) {
	const vip = "192.0.2.1"
	bad := service(vip, 9)
	bad.Mode = "halfnat"
	bgp := func(asn uint32) v1.NodeState { return v1.NodeState{BGP: &v1.BGP{ASN: asn}} }
	role := func(rank int) v1.NodeState {
		return v1.NodeState{Roles: []v1.Role{{VIP: netip.MustParseAddr(vip), Rank: rank, Nodes: 8}}}
	}
	drained := state(1)
	drained.Drained = true
	type states = map[string]v1.NodeState
	rows := []struct {
		name string
		// steps are the states of all owners, one merge after the other; the
		// picture is that of the last.
		steps []states
		want  string
	}{
		{"nobody", []states{{}}, ""},
		{"one owner, ordered by frontend", []states{{"controller": state(1, service(vip, 2), service(vip, 1))}}, "controller:1, controller:2"},
		{"two owners that want different things", []states{{"controller": state(1, service(vip, 2)), "file": state(1, service(vip, 1))}}, "file:1, controller:2"},
		{"a bad service leaves the others alone", []states{{"controller": state(1, bad, service(vip, 1))}}, "controller:1, controller:9 Invalid"},
		{"the second of one owner's duplicates is refused", []states{{"controller": state(1, service(vip, 1), service(vip, 1))}}, "controller:1, controller:1 Duplicate"},
		{
			"who had it first keeps it, whatever the names",
			[]states{{"netlox": state(1, service(vip, 1))}, {"netlox": state(1, service(vip, 1)), "controller": state(1, service(vip, 1))}},
			"netlox:1, controller:1 ClaimedByOther",
		},
		{
			"who had it first keeps it through its own changes",
			[]states{
				{"netlox": state(1, service(vip, 1))},
				{"netlox": state(1, service(vip, 1)), "controller": state(1, service(vip, 1))},
				{"netlox": state(2, service(vip, 1), service(vip, 2)), "controller": state(1, service(vip, 1))},
			},
			"netlox:1, netlox:2, controller:1 ClaimedByOther",
		},
		{
			"who waits gets it when the first lets go",
			[]states{
				{"netlox": state(1, service(vip, 1))},
				{"netlox": state(1, service(vip, 1)), "controller": state(1, service(vip, 1))},
				{"netlox": state(2), "controller": state(1, service(vip, 1))},
			},
			"controller:1",
		},
		{
			"who comes back stands at the end",
			[]states{
				{"netlox": state(1, service(vip, 1))},
				{"netlox": state(1, service(vip, 1)), "controller": state(1, service(vip, 1))},
				{"netlox": state(2), "controller": state(1, service(vip, 1))},
				{"netlox": state(3, service(vip, 1)), "controller": state(1, service(vip, 1))},
			},
			"controller:1, netlox:1 ClaimedByOther",
		},
		{"a bad service claims nothing", []states{{"netlox": state(1, bad)}, {"netlox": state(1, bad), "controller": state(1, service(vip, 9))}}, "controller:9, netlox:9 Invalid"},
		{"bgp of the first owner", []states{{"netlox": bgp(1)}, {"netlox": bgp(1), "controller": bgp(2)}}, "as 1, ClaimedByOther"},
		{"bgp of the second when the first lets go", []states{{"netlox": bgp(1)}, {"netlox": bgp(1), "controller": bgp(2)}, {"netlox": {}, "controller": bgp(2)}}, "as 2"},
		{"drained, as one of the owners says", []states{{"controller": drained, "netlox": state(1)}}, "drained"},
		{"not drained any more", []states{{"controller": drained, "netlox": state(1)}, {"controller": state(2), "netlox": state(1)}}, ""},
		{"role of the first owner", []states{{"netlox": role(1)}, {"netlox": role(1), "controller": role(0)}}, "rank 1 for 192.0.2.1, ClaimedByOther"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var d Desired
			var claims Claims
			for _, s := range r.steps {
				d, claims = Merge(s, claims)
			}
			if got := picture(d); got != r.want {
				t.Errorf("got  %s\nwant %s", got, r.want)
			}
		})
	}
}

func TestMergeNamesTheFieldOfABadService(t *testing.T) {
	bad := service("192.0.2.1", 1)
	bad.Backends[0].Port = 0
	d, _ := Merge(map[string]v1.NodeState{"controller": state(1, service("192.0.2.1", 2), bad)}, Claims{})
	const want = "services[1].backends[0].port: 0 is no port, use 1 to 65535"
	if got := d.Refused[0].Conditions[0].Message; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMergeLeavesItsInputAlone(t *testing.T) {
	services := []v1.Service{service("192.0.2.1", 2), service("192.0.2.1", 1)}
	states := map[string]v1.NodeState{"controller": state(1, services...)}
	_, claims := Merge(states, Claims{})
	first := slices.Clone(claims.frontends[services[0].Frontend])
	states["netlox"] = state(1, services...)
	Merge(states, claims)
	if services[0].Port != 2 || !slices.Equal(claims.frontends[services[0].Frontend], first) {
		t.Error("Merge changed what it was given")
	}
}
