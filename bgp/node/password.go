package node

import (
	"fmt"
	"net/netip"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/tcpmd5"
)

// Reasons of conditions about sessions with passwords.
const (
	reasonPasswordMismatch   = "PasswordMismatch"   // A peer signs with another password; make both sides the same (--bgpPasswordFile).
	reasonPasswordMissing    = "PasswordMissing"    // A peer signs, and has no password here; give it the peer's (--bgpPasswordFile).
	reasonPasswordUnanswered = "PasswordUnanswered" // A peer with a password stays silent; see that it is up, and has a password too.
)

// answerWithin is how long a peer with a password may take to come up before
// silence is worth a condition. A peer that dials tells more, and sooner.
const answerWithin = 10 * time.Second

// evidence keeps the kernel's counters as they were when a session last came
// up: what was refused before concerns a session that works now.
type evidence struct {
	up   int
	base tcpmd5.Refused
}

// refused is what the kernel refused since, and the evidence for the next time.
func (e evidence) refused(up int, now tcpmd5.Refused) (tcpmd5.Refused, evidence) {
	if up > e.up {
		e.base = now
	}
	e.up = up
	return now.Sub(e.base), e
}

// weigh returns what the kernel has refused since a session last came up;
// nothing where the counters cannot be had.
func (n *Node) weigh(sessions []bgp.Session) tcpmd5.Refused {
	now, err := n.options.Refused()
	if err != nil {
		return tcpmd5.Refused{}
	}
	up := 0
	for _, s := range sessions {
		if s.State == bgp.Established {
			up++
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var refused tcpmd5.Refused
	refused, n.evidence = n.evidence.refused(up, now)
	return refused
}

// down says of each session that is not up why that is, where it is known, or
// may be a matter of its password. configured is when BGP was.
func down(now, configured time.Time, peers []bgp.Peer, sessions []bgp.Session, refused tcpmd5.Refused) []v1.Condition {
	byAddress := make(map[netip.Addr]bgp.Session, len(sessions))
	for _, s := range sessions {
		byAddress[s.Address] = s
	}
	var out []v1.Condition
	for _, p := range peers {
		s := byAddress[p.Address]
		if s.State == bgp.Established {
			continue
		}
		since := s.Since
		if since.Before(configured) {
			since = configured
		}
		if s.TooMany {
			out = append(out, tooMany(p))
			continue
		}
		if reason, why := suspect(p, now.Sub(since), refused); reason != "" {
			out = append(out, v1.Condition{
				Type: v1.ConditionEstablished, Reason: reason,
				Message: fmt.Sprintf("no session with %s: %s", p.Address, why),
			})
		}
	}
	return out
}

// suspect is the reason, and what to do, for a peer that is not up for so long;
// empty where nothing points to its password.
func suspect(p bgp.Peer, down time.Duration, refused tcpmd5.Refused) (reason, why string) {
	switch {
	case p.Password == "" && refused.Unexpected > 0:
		return reasonPasswordMissing, fmt.Sprintf(
			"%d segments with an MD5 signature came though it has no password here; give it the peer's (kube-weir --bgpPasswordFile)", refused.Unexpected)
	case p.Password == "":
		return "", ""
	case refused.Wrong > 0:
		return reasonPasswordMismatch, fmt.Sprintf(
			"%d segments with a wrong MD5 signature were refused; give both ends the same password (kube-weir --bgpPasswordFile)", refused.Wrong)
	case refused.Unsigned > 0:
		return reasonPasswordMismatch, fmt.Sprintf(
			"%d segments without an MD5 signature were refused; give the peer the password, or take it away here (kube-weir --bgpPasswordFile)", refused.Unsigned)
	case down > answerWithin:
		return reasonPasswordUnanswered, fmt.Sprintf(
			"nothing came for %s; see that the peer is up and has the same password (kube-weir --bgpPasswordFile)", down.Round(time.Second))
	}
	return "", ""
}
