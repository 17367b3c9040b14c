package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

// FuzzParsePasswords holds that no error tells a password, and that what is
// taken can be one.
func FuzzParsePasswords(f *testing.F) {
	for _, seed := range []string{
		"192.168.80.1 s3cret\n", "# x\n\n192.168.80.1\ts3cret of words \n", "192.168.80.1\n", "router s3cret", "::1%eth0 x",
		"192.168.80.1 a\n192.168.80.1 b\n", "192.168.80.1 \x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		passwords, err := parsePasswords(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q names no line", err)
			}
			return
		}
		for address, password := range passwords {
			if !address.IsValid() || password == "" || len(password) > v1.MaxPassword {
				t.Fatalf("took a password of %d bytes for %s", len(password), address)
			}
		}
	})
}

// FuzzParsePeers holds that what --extBGPPeers and --extBGPAccept take can be
// sent to a node.
func FuzzParsePeers(f *testing.F) {
	f.Add("192.168.80.1:65101, 192.168.90.9:64511,", "10.0.0.0/8, 0.0.0.0/0")
	f.Add("192.168.80.1", "none")
	f.Add("router:1", "any")
	f.Add("::1:65101", "2001:db8::/32")
	f.Add("1.1.1.1:4294967296,1.1.1.1:1", "10.0.0.1")
	f.Fuzz(func(t *testing.T, list, accept string) {
		peers, err := parsePeers(list)
		if err != nil {
			return
		}
		prefixes, err := parseAccept(accept)
		if err != nil {
			return
		}
		b := v1.BGP{ASN: 64512, RouterID: netip.MustParseAddr("192.168.80.10"), Accept: prefixes}
		for _, p := range peers {
			b.Peers = append(b.Peers, v1.Peer{Address: p.Address, ASN: p.ASN, Role: v1.PeerExternal})
		}
		if err := v1.ValidateState(v1.NodeState{BGP: &b}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzParseAccept holds that prefixes are read as they print themselves, that any and
// none are not taken for each other, and that an error is one line.
func FuzzParseAccept(f *testing.F) {
	for _, seed := range []string{"any", "", "none", "10.0.0.0/8, 0.0.0.0/0", "10.0.0.1/8", "2001:db8::/32", "10.0.0.1", ",", "none,any", "10.0.0.0/8,\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		accept, err := parseAccept(list)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than a line: %q", err)
			}
			return
		}
		if (accept == nil) != (list == "any" || list == "") || (len(accept) == 0 && accept != nil) != (list == "none") {
			t.Fatalf("%q lets %v in, any: %t", list, accept, accept == nil)
		}
		var texts []string
		for _, p := range accept {
			if !p.Addr().Is4() || p != p.Masked() {
				t.Fatalf("%q lets %s in", list, p)
			}
			texts = append(texts, p.String())
		}
		if again, err := parseAccept(strings.Join(texts, ",")); len(texts) > 0 && (err != nil || !slices.Equal(again, accept)) {
			t.Fatalf("%v became %v, %v", accept, again, err)
		}
	})
}
