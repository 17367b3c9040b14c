package node

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/fib"
)

// Reasons of conditions besides those of package fib.
const (
	reasonSpeakerFailed = "SpeakerFailed"   // The BGP speaker does not run; the message says why.
	reasonKernelFailed  = "KernelFailed"    // The kernel's routes cannot be read; the message says why.
	reasonTooMany       = "TooManyPrefixes" // A peer announced more prefixes than it may and is shut out; have it announce fewer, or raise --extBGPMaxPrefixes.
)

// Status returns the speaker and the learned routes as they stand, nil while
// BGP is not configured.
func (n *Node) Status(ctx context.Context) (*v1.BGPStatus, error) {
	n.mu.Lock()
	w, result, failures := n.wanted, n.result, conditions(n.failure, n.readFailure, n.result.Problems)
	n.mu.Unlock()
	if w == nil {
		return nil, nil
	}
	state, err := n.options.Speaker.State(ctx)
	if err != nil {
		return nil, err
	}
	refused := n.weigh(state.Sessions)
	now := time.Now()
	failures = append(failures, down(now, w.since, w.config.Peers, state.Sessions, refused)...)
	return &v1.BGPStatus{
		ASN:            w.config.Global.ASN,
		RouterID:       w.config.Global.RouterID,
		ListenPort:     w.config.Global.ListenPort,
		Peers:          peerStatus(now, w.cfg.Peers, w.config.Peers, state.Sessions),
		Advertisements: w.config.Advertisements,
		Routes:         routes(result.Routes),
		Bound:          boundAddresses(result.Problems),
		Conditions:     failures,
	}, nil
}

// peerStatus returns one entry a configured peer, in order of address.
func peerStatus(now time.Time, configured []v1.Peer, peers []bgp.Peer, sessions []bgp.Session) []v1.PeerStatus {
	asked := make(map[netip.Addr]v1.Peer, len(configured))
	for _, p := range configured {
		asked[p.Address] = p
	}
	byAddress := make(map[netip.Addr]bgp.Session, len(sessions))
	for _, s := range sessions {
		byAddress[s.Address] = s
	}
	out := make([]v1.PeerStatus, 0, len(peers))
	for _, p := range peers {
		s := byAddress[p.Address]
		st := v1.PeerStatus{Peer: asked[p.Address], State: s.State, Received: s.Received, Accepted: s.Accepted}
		st.Password = st.Password.Redacted()
		if st.State == "" {
			st.State = "idle" // the speaker has not taken the peer
		}
		if !s.Since.IsZero() {
			st.Uptime = max(0, now.Sub(s.Since))
		}
		out = append(out, st)
	}
	return out
}

func routes(in []fib.Route) []v1.Route {
	out := make([]v1.Route, 0, len(in))
	for _, r := range in {
		out = append(out, v1.Route{Prefix: r.Prefix, NextHops: r.NextHops})
	}
	return out
}

// boundAddresses are the service addresses that are this node's own.
func boundAddresses(problems []fib.Problem) []netip.Addr {
	var out []netip.Addr
	for _, p := range problems {
		if p.Reason == fib.AddressBound {
			out = append(out, p.Prefix.Addr())
		}
	}
	return out
}

// conditions says what is not as it should be, one line each.
func conditions(speaker, kernel error, problems []fib.Problem) []v1.Condition {
	var out []v1.Condition
	add := func(reason, message string) {
		out = append(out, v1.Condition{Type: v1.ConditionProgrammed, Reason: reason, Message: message})
	}
	if speaker != nil {
		add(reasonSpeakerFailed, speaker.Error())
	}
	if kernel != nil {
		add(reasonKernelFailed, kernel.Error())
	}
	for _, p := range problems {
		add(string(p.Reason), p.Message)
	}
	return out
}

func tooMany(p bgp.Peer) v1.Condition {
	return v1.Condition{Type: v1.ConditionEstablished, Reason: reasonTooMany, Message: fmt.Sprintf(
		"no session with %s: it announced more than %d prefixes and is let in again in a few minutes; have it announce fewer, or raise the limit (kube-weir --extBGPMaxPrefixes)",
		p.Address, p.MaxPrefixes)}
}
