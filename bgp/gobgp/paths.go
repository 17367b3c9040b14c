package gobgp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
)

// SetAdvertisements implements bgp.Speaker.
func (s *Speaker) SetAdvertisements(ctx context.Context, ads []v1.Advertisement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.run
	if r == nil {
		return fmt.Errorf("set BGP advertisements: %w", errNotStarted)
	}
	want := make(map[netip.Prefix]v1.Advertisement, len(ads))
	for _, ad := range ads {
		if !ad.Prefix.Addr().Is4() {
			return fmt.Errorf("advertise %s: sessions carry IPv4 only; use an IPv4 prefix", ad.Prefix)
		}
		want[ad.Prefix] = ad
	}
	// Policy before paths: a path is exported under the policy of its time.
	if err := r.applyRules(ctx, rulesOf(r.global.ASN, r.policy, r.peers, want)); err != nil {
		return err
	}
	return r.applyAds(want)
}

// applyAds announces what is new or changed, and withdraws what is gone, in
// one batch each: GoBGP's cost is by the call.
func (r *run) applyAds(want map[netip.Prefix]v1.Advertisement) error {
	var add, del []*apiutil.Path
	for prefix, ad := range want {
		if old, ok := r.ads[prefix]; !ok || old != ad {
			p, err := path(ad)
			if err != nil {
				return err
			}
			add = append(add, p)
		}
	}
	for prefix, ad := range r.ads {
		if _, ok := want[prefix]; !ok {
			p, err := path(ad)
			if err != nil {
				return err
			}
			del = append(del, p)
		}
	}
	if len(add) > 0 {
		if _, err := r.server.AddPath(apiutil.AddPathRequest{Paths: add}); err != nil {
			return fmt.Errorf("announce %d prefixes: %w", len(add), err)
		}
	}
	if len(del) > 0 {
		if err := r.server.DeletePath(apiutil.DeletePathRequest{Paths: del}); err != nil {
			return fmt.Errorf("withdraw %d prefixes: %w", len(del), err)
		}
	}
	r.ads = want
	return nil
}

// path returns ad as GoBGP originates it. A next hop of 0.0.0.0 becomes the
// local address of each session. AS_PATH stays empty: our own AS in it would
// be a loop to every iBGP peer, so prepending is a matter of export policy.
func path(ad v1.Advertisement) (*apiutil.Path, error) {
	nlri, err := packet.NewIPAddrPrefix(ad.Prefix)
	if err != nil {
		return nil, fmt.Errorf("advertise %s: %w", ad.Prefix, err)
	}
	nextHop, err := packet.NewPathAttributeNextHop(netip.IPv4Unspecified())
	if err != nil {
		return nil, fmt.Errorf("advertise %s: %w", ad.Prefix, err)
	}
	return &apiutil.Path{
		Family: packet.RF_IPv4_UC,
		Nlri:   nlri,
		Age:    time.Now().Unix(), // not an age: when the path came about
		Attrs: []packet.PathAttributeInterface{
			packet.NewPathAttributeOrigin(packet.BGP_ORIGIN_ATTR_TYPE_IGP),
			nextHop,
			packet.NewPathAttributeMultiExitDisc(ad.MED),
			packet.NewPathAttributeLocalPref(ad.LocalPref),
		},
	}, nil
}

// routes returns the learned best paths of all families.
func (r *run) routes() ([]bgp.Route, error) {
	byPrefix := make(map[netip.Prefix]bgp.Route)
	err := r.server.ListPath(apiutil.ListPathRequest{
		TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: packet.RF_IPv4_UC,
	}, func(nlri packet.NLRI, paths []*apiutil.Path) {
		prefix, err := netip.ParsePrefix(nlri.String())
		if err != nil {
			return // no unicast prefix, so no route
		}
		if hops := nextHops(paths); len(hops) > 0 {
			byPrefix[prefix] = bgp.Route{Prefix: prefix, NextHops: hops}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list BGP paths: %w", err)
	}
	var out []bgp.Route
	for _, prefix := range slices.SortedFunc(maps.Keys(byPrefix), netip.Prefix.Compare) {
		out = append(out, byPrefix[prefix])
	}
	return out, nil
}

// nextHops returns those of the best paths, which ListPath has first. It is
// empty for a prefix that this node originates itself: such a path has no
// peer, and is never equal to a learned one.
func nextHops(paths []*apiutil.Path) []netip.Addr {
	var out []netip.Addr
	for _, p := range paths {
		if !p.Best || !p.PeerAddress.IsValid() {
			continue
		}
		if hop := nextHop(p); hop.IsValid() && !hop.IsUnspecified() && !slices.Contains(out, hop) {
			out = append(out, hop)
		}
	}
	return out
}

func nextHop(p *apiutil.Path) netip.Addr {
	for _, a := range p.Attrs {
		switch a := a.(type) {
		case *packet.PathAttributeNextHop:
			return a.Value.Unmap()
		case *packet.PathAttributeMpReachNLRI:
			return a.Nexthop.Unmap()
		}
	}
	return netip.Addr{}
}
