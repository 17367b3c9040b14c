package lab

import (
	"fmt"
	"strings"
	"testing"
)

func TestServices(t *testing.T) {
	all := services(10_000)
	if len(all) != 10_002 {
		t.Fatalf("%d services", len(all))
	}
	if s := all[5000]; s.VIP != VIP || s.Port != PortChain || len(s.Endpoints) != chainBackends {
		t.Errorf("the service in the middle is %+v", s)
	}
	frontends := map[string]bool{}
	for _, s := range all {
		frontends[fmt.Sprint(s.VIP, s.Port, s.Protocol)] = true
		frontends[fmt.Sprint(s.ClusterIP, s.Port, s.Protocol)] = true
		for _, e := range s.Endpoints {
			if !Backends.Contains(e.Addr()) && e.Addr() != Server {
				t.Errorf("%s has endpoint %s", s.Name, e)
			}
		}
	}
	if len(frontends) != 2*len(all) {
		t.Errorf("%d frontends of %d services", len(frontends), len(all))
	}
}

func TestNftRulesLeadToEveryEndpoint(t *testing.T) {
	rules := nftRules(services(2), podCIDR)
	for _, want := range []string{
		"203.0.113.1 . udp . 5000 : goto external-1",
		"chain external-1 { jump mark-for-masquerade; goto service-1; }",
		"numgen random mod 16 vmap { 0 : goto endpoint-1-0, 1 : goto endpoint-1-1,",
		"meta l4proto udp dnat to 10.9.0.16:7000",
		"203.0.113.1 . tcp . 80 : goto external-2",
		"chain endpoint-2-0 { ip saddr 198.51.100.1 jump mark-for-masquerade; meta l4proto tcp dnat to 198.51.100.1:8080; }",
	} {
		if !strings.Contains(rules, want) {
			t.Errorf("no %q in\n%s", want, rules)
		}
	}
}
