package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/tcpmd5"
)

func TestDownSaysWhatIsWrongWithPasswords(t *testing.T) {
	configured := time.Unix(1000, 0)
	signed := bgp.Peer{Address: netip.MustParseAddr("192.168.80.1"), Password: "s3cret"}
	open := bgp.Peer{Address: signed.Address}
	for _, tt := range []struct {
		name    string
		peer    bgp.Peer
		state   string
		after   time.Duration
		refused tcpmd5.Refused
		want    string
	}{
		{"up", signed, bgp.Established, time.Hour, tcpmd5.Refused{Wrong: 5}, ""},
		{"another password", signed, "active", time.Second, tcpmd5.Refused{Wrong: 5}, reasonPasswordMismatch},
		{"none at the peer", signed, "active", time.Second, tcpmd5.Refused{Unsigned: 2}, reasonPasswordMismatch},
		{"none here", open, "active", time.Second, tcpmd5.Refused{Unexpected: 2}, reasonPasswordMissing},
		{"no password anywhere", open, "active", time.Hour, tcpmd5.Refused{Wrong: 1, Unsigned: 1}, ""},
		{"it is early", signed, "active", 9 * time.Second, tcpmd5.Refused{}, ""},
		{"silence", signed, "active", 11 * time.Second, tcpmd5.Refused{}, reasonPasswordUnanswered},
		{"not taken by the speaker", signed, "", 11 * time.Second, tcpmd5.Refused{}, reasonPasswordUnanswered},
	} {
		var sessions []bgp.Session
		if tt.state != "" {
			sessions = []bgp.Session{{Address: tt.peer.Address, State: tt.state}}
		}
		got := ""
		for _, c := range down(configured.Add(tt.after), configured, []bgp.Peer{tt.peer}, sessions, tt.refused) {
			got += c.Reason
			if c.Status || !strings.Contains(c.Message, "192.168.80.1") || strings.Contains(c.Message, "s3cret") {
				t.Errorf("%s: condition %+v", tt.name, c)
			}
		}
		if got != tt.want {
			t.Errorf("%s: reason %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestEvidenceStartsAnewWhenASessionComesUp(t *testing.T) {
	var e evidence
	for _, step := range []struct {
		up        int
		now, want uint64
	}{{0, 5, 5}, {1, 7, 0}, {1, 9, 2}, {0, 10, 3}, {1, 12, 0}} {
		var got tcpmd5.Refused
		if got, e = e.refused(step.up, tcpmd5.Refused{Wrong: step.now}); got.Wrong != step.want {
			t.Errorf("%d up, counter %d: %d refused, want %d", step.up, step.now, got.Wrong, step.want)
		}
	}
}
