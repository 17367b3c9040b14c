package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weir-lb/weir/topo/spec"
)

// podCIDR is where pods have their addresses: clients in it are not masqueraded.
var podCIDR = netip.MustParsePrefix("10.244.0.0/16")

// nftables is a node with the rules of kube-proxy in nftables mode.
func nftables(services []spec.Service) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		_, err := l.Node("lb").RunInput(ctx, []byte(nftRules(services, podCIDR)), "nft", "-f", "-")
		if err != nil {
			return err
		}
		return l.conntrack()
	}
}

// nftRules writes what kube-proxy 1.34 in nftables mode has for services with
// external addresses: a verdict map leads to a chain of each service, and that by
// numgen to one of each endpoint.
func nftRules(services []spec.Service, pods netip.Prefix) string {
	var b strings.Builder
	b.WriteString("table ip kube-proxy {\n")
	nftBase(&b)
	var elements []string
	for i, s := range services {
		elements = append(elements,
			fmt.Sprintf("%s . %s . %d : goto service-%d", s.ClusterIP, s.Protocol, s.Port, i),
			fmt.Sprintf("%s . %s . %d : goto external-%d", s.VIP, s.Protocol, s.Port, i))
		nftService(&b, i, s, pods)
	}
	b.WriteString("}\n")
	// An element names its chain, which must be there by then.
	fmt.Fprintf(&b, "add element ip kube-proxy service-ips { %s }\n", strings.Join(elements, ", "))
	return b.String()
}

func nftBase(b *strings.Builder) {
	b.WriteString(`	map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
	map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
	map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
	map service-nodeports { type inet_proto . inet_service : verdict; }
	chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
	chain masquerading {
		meta mark & 0x4000 == 0 return
		meta mark set meta mark ^ 0x4000
		masquerade fully-random
	}
	chain services {
		ip daddr . meta l4proto . th dport vmap @service-ips
		ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @service-nodeports
	}
	chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
	chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
	chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
	chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
	chain filter-prerouting { type filter hook prerouting priority -110; ct state new jump firewall-check; }
	chain filter-input { type filter hook input priority -110; ct state new jump service-endpoints-check; }
	chain filter-forward { type filter hook forward priority -110; ct state new jump service-endpoints-check; }
`)
}

func nftService(b *strings.Builder, i int, s spec.Service, pods netip.Prefix) {
	var to []string
	for n, e := range s.Endpoints {
		fmt.Fprintf(b, "\tchain endpoint-%d-%d { ip saddr %s jump mark-for-masquerade; meta l4proto %s dnat to %s; }\n",
			i, n, e.Addr(), s.Protocol, e)
		to = append(to, fmt.Sprintf("%d : goto endpoint-%d-%d", n, i, n))
	}
	fmt.Fprintf(b, "\tchain service-%d { ip daddr %s %s dport %d ip saddr != %s jump mark-for-masquerade; numgen random mod %d vmap { %s }; }\n",
		i, s.ClusterIP, s.Protocol, s.Port, pods, len(s.Endpoints), strings.Join(to, ", "))
	fmt.Fprintf(b, "\tchain external-%d { jump mark-for-masquerade; goto service-%d; }\n", i, i)
}
