package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
)

func getNeigh(o *options) *cobra.Command {
	return show(o, &cobra.Command{
		Use:     "neigh",
		Aliases: []string{"bgpneigh", "neighbor", "peers"},
		Short:   "BGP peers, as `gobgp neighbor` prints them",
	}, o.node, func(ctx context.Context, c *client.Client) (*v1.BGPStatus, error) {
		return c.BGP(ctx)
	}, printNeigh)
}

func printNeigh(cmd *cobra.Command, bgp *v1.BGPStatus, wide bool) error {
	if bgp == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "BGP is off or not configured on this node; is weir started with --bgp, and kube-weir with --setBGP?")
		return nil
	}
	out := cmd.OutOrStdout()
	writePeers(out, bgp.Peers)
	for _, c := range bgp.Conditions {
		if !c.Status {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", c.Reason, c.Message)
		}
	}
	if !wide {
		return nil
	}
	fmt.Fprintf(out, "\nAS:        %d\nRouter-ID: %s\nListening Port: %d\n", bgp.ASN, bgp.RouterID, bgp.ListenPort)
	for _, a := range bgp.Advertisements {
		fmt.Fprintf(out, "Advertised %s local-pref %d med %d prepend %d\n", a.Prefix, a.LocalPref, a.MED, a.Prepend)
	}
	for _, r := range bgp.Routes {
		fmt.Fprintf(out, "Installed %s via %v\n", r.Prefix, r.NextHops)
	}
	return nil
}

// writePeers is gobgp's table: no bars, three columns as wide as their content.
func writePeers(w io.Writer, peers []v1.PeerStatus) {
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b v1.PeerStatus) int { return a.Address.Compare(b.Address) })
	address, asn, up := 0, len("AS"), len("Up/Down")
	for _, p := range peers {
		address = max(address, len(p.Address.String()))
		asn = max(asn, len(number(p.ASN)))
		up = max(up, len(duration(p)))
	}
	line := func(cells ...any) {
		args := []any{address, cells[0], asn, cells[1], up, cells[2], cells[3], cells[4], cells[5]}
		fmt.Fprintf(w, "%-*s %*s %*s %-11s |%9s %9s\n", args...)
	}
	line("Peer", "AS", "Up/Down", "State", "#Received", "Accepted")
	for _, p := range peers {
		line(p.Address.String(), number(p.ASN), duration(p), stateOf(p), number(p.Received), number(p.Accepted))
	}
}

// stateOf spells a session's state as gobgp does.
func stateOf(p v1.PeerStatus) string {
	short := map[string]string{
		"idle": "Idle", "connect": "Connect", "active": "Active",
		"opensent": "Sent", "openconfirm": "Confirm", "established": "Establ",
	}
	return cmp.Or(short[p.State], p.State, "Unknown")
}

// duration is how long a session is up or down; a session that never was up
// has none.
func duration(p v1.PeerStatus) string {
	if p.Uptime == 0 && p.State != "established" {
		return "never"
	}
	s := int(p.Uptime / time.Second)
	clock := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		return fmt.Sprintf("%dd %s", days, clock)
	}
	return clock
}
