package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-lb/weir/bgp/decide"
)

// TestArticle walks through the article with real speakers, one topology for
// all steps because sessions take seconds to come up. A step starts where the
// one before ended.
func TestArticle(t *testing.T) {
	w := newWorld(t)
	w.mesh()
	for _, step := range []struct {
		name string
		run  func()
	}{
		{"the gobgp command shows what the article shows", w.commandLine},
		{"client and workers learn the VIP from the active master", w.announce},
		{"the standby keeps its own path and refuses the active master's", w.refuse},
		{"an ordinary prefix gets both next hops, a foreign route stays", w.ecmp},
		{"ranks swap without a withdrawal", w.swap},
		{"a peer that leaves does not disturb the others", w.removePeer},
		{"a lost link of the worker takes the route, the link brings it back", w.workerLink},
		{"a silent master loses the VIP within the hold time", w.silentMaster},
		{"the master comes back and takes the VIP", w.masterReturns},
		{"a worker that is killed keeps its route and sweeps stale ones when told", w.killWorker},
		{"a master that ends and comes back moves nothing", w.restartMaster},
		{"the last service gone withdraws the VIP everywhere", w.withdraw},
	} {
		ok := t.Run(step.name, func(sub *testing.T) {
			w.t = sub
			step.run()
		})
		w.t = t
		if !ok {
			return
		}
	}
}

// golden waits until text equals a file of testdata: sessions come up before
// their prefixes arrive.
func golden(t *testing.T, name string, text func() string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	must(t, err)
	eventually(t, 5*time.Second, name, func() string {
		return cmp.Diff(strings.TrimSpace(string(want)), strings.TrimSpace(text()))
	})
}

func (w *world) commandLine() {
	for _, tt := range []struct {
		file string
		text func() string
	}{
		{"master1-neighbor.txt", func() string { return w.neighbours(w.master1) }},
		{"master2-neighbor.txt", func() string { return w.neighbours(w.master2) }},
		{"worker1-neighbor.txt", func() string { return w.neighbours(w.worker1) }},
		{"worker2-neighbor.txt", func() string { return w.neighbours(w.worker2) }},
		{"master2-global.txt", func() string { return w.cli(w.master2, "global") }},
		{"master-policy.txt", w.policyOf(w.master1)},
		{"master-policy.txt", w.policyOf(w.master2)},
		{"worker-policy.txt", w.policyOf(w.worker1)},
	} {
		golden(w.t, tt.file, tt.text)
	}
}

func (w *world) policyOf(s *speaker) func() string {
	return func() string { return w.cli(s, "global", "policy") }
}

// expect waits until all of client and workers route the VIP by one master.
func (w *world) expect(within time.Duration, client, worker string) {
	w.t.Helper()
	eventually(w.t, within, "client routes the VIP", equal(client, func() string { return w.client.routes(vipText) }))
	for _, s := range []*speaker{w.worker1, w.worker2} {
		eventually(w.t, within, s.name+" routes the VIP", equal(worker, func() string { return s.routes(vipText) }))
	}
}

func (w *world) announce() {
	w.serve(0, 1)
	w.expect(3*time.Second, birdVia1, viaMaster1)
	eventually(w.t, 3*time.Second, "both masters announce, the standby worse by MED and AS path",
		equal("master1* as_path 64512 med 0\nmaster2 as_path 64512 64512 med 10", func() string { return w.client.paths(vipText) }))
	eventually(w.t, 3*time.Second, "the worker has both, by LOCAL_PREF", equal("192.168.80.10 1000\n192.168.80.11 990",
		func() string { return w.localPrefs(w.worker1) }))
	golden(w.t, "master-policy.txt", w.policyOf(w.master1))
	golden(w.t, "standby-policy.txt", w.policyOf(w.master2))
}

// localPrefs prints next hop and LOCAL_PREF of a node's paths to the VIP.
func (w *world) localPrefs(s *speaker) string {
	var out []string
	for _, line := range strings.Split(w.cli(s, "global", "rib", vipText+"/32"), "\n") {
		fields := strings.Fields(strings.TrimLeft(line, "*> "))
		if len(fields) < 2 || !strings.HasPrefix(fields[0], vipText) {
			continue
		}
		_, pref, _ := strings.Cut(line, "LocalPref: ")
		pref, _, _ = strings.Cut(pref, "}")
		out = append(out, fields[1]+" "+pref)
	}
	return strings.Join(out, "\n")
}

func (w *world) refuse() {
	eventually(w.t, 3*time.Second, "the active master's path has arrived", func() string {
		text := w.cli(w.master2, "neighbor", "192.168.80.10", "adj-in")
		if strings.Contains(text, vipText) {
			return ""
		}
		return text
	})
	for s, want := range map[*speaker]string{w.master1: "0.0.0.0 1000", w.master2: "0.0.0.0 990"} {
		if got := w.localPrefs(s); got != want {
			w.t.Errorf("%s has paths\n%s\nwant only its own, %s", s.name, got, want)
		}
		if got := s.routes(vipText); got != "" {
			w.t.Errorf("%s routes its own VIP: %s", s.name, got)
		}
	}
	// The control: without the refusal the standby would follow the active
	// master. That it can be lifted and set shows that the sessions stay.
	before := established(w.master2)
	lifted := bgpOf(w.master2.member)
	lifted.VIPs = nil
	w.master2.apply(service(lifted, 1))
	eventually(w.t, 3*time.Second, "without refusal the standby takes the active master's path",
		equal("192.168.80.10 1000\n0.0.0.0 990", func() string { return w.localPrefs(w.master2) }))
	w.master2.apply(service(bgpOf(w.master2.member), 1))
	eventually(w.t, 3*time.Second, "with it, its own alone",
		equal("0.0.0.0 990", func() string { return w.localPrefs(w.master2) }))
	w.undisturbed(w.master2, before)
}

// undisturbed expects that no session of s was reset since before.
func (w *world) undisturbed(s *speaker, before map[netip.Addr]time.Time, but ...netip.Addr) {
	w.t.Helper()
	for addr, at := range established(s) {
		if d := at.Sub(before[addr]).Abs(); !slices.Contains(but, addr) && d > 2*time.Second {
			w.t.Errorf("the session of %s with %s was reset: %v between", s.name, addr, d)
		}
	}
}

func (w *world) ecmp() {
	both := ecmp + " proto bgp metric 30\nnexthop via 192.168.80.10 dev eth1 weight 1\nnexthop via 192.168.80.11 dev eth1 weight 1"
	hops := func() string { return w.worker1.routes(ecmp) }
	eventually(w.t, 3*time.Second, "worker1 has both next hops", equal(both, hops))
	leaks := bgpOf(w.master2.member)
	leaks.NextHopSelf = false
	w.master2.apply(service(leaks, 1))
	eventually(w.t, 3*time.Second, "without next-hop-self the client is the next hop",
		equal(strings.NewReplacer("80.10 ", "80.1 ", "80.11 ", "80.10 ").Replace(both), hops))
	w.master2.apply(service(bgpOf(w.master2.member), 1))
	eventually(w.t, 3*time.Second, "with it, both masters again", equal(both, hops))
	eventually(w.t, 3*time.Second, "worker2 says why a prefix is not routed", func() string {
		for _, c := range w.worker2.status().Conditions {
			if c.Reason == "ForeignRoute" && strings.Contains(c.Message, occupied) {
				return ""
			}
		}
		return "no condition"
	})
	if got, want := w.worker2.routes(occupied), occupied+" via 192.168.80.1 dev eth1 proto static metric 30"; got != want {
		w.t.Errorf("worker2 routes %s, want %s", got, want)
	}
}

func (w *world) swap() {
	before1, before2 := w.client.withdraws("master1"), w.client.withdraws("master2")
	gaps := w.worker1.watchDeletions(vipText + "/32")
	w.serve(1, 0)
	w.expect(3*time.Second, birdVia2, viaMaster2)
	w.serve(0, 1)
	w.expect(3*time.Second, birdVia1, viaMaster1)
	if after1, after2 := w.client.withdraws("master1"), w.client.withdraws("master2"); after1 != before1 || after2 != before2 {
		w.t.Errorf("the client saw withdrawals: from master1 %s then %s, from master2 %s then %s", before1, after1, before2, after2)
	}
	if n := gaps(); n != 0 {
		w.t.Errorf("worker1 deleted the route %d times", n)
	}
}

func (w *world) removePeer() {
	before := established(w.master1)
	without := bgpOf(w.worker2.member)
	without.Peers = without.Peers[:1] // master1 alone
	w.worker2.apply(request{Op: opApply, BGP: without})
	eventually(w.t, 3*time.Second, "worker2 has one session", func() string {
		if p := w.worker2.status().Peers; len(p) != 1 || p[0].State != "established" {
			return w.neighbours(w.worker2)
		}
		return ""
	})
	w.worker2.apply(request{Op: opApply, BGP: bgpOf(w.worker2.member)})
	w.established(10 * time.Second)
	w.undisturbed(w.master1, before, w.worker2.address)
}

func (w *world) workerLink() {
	w.worker1.setLink(false)
	eventually(w.t, time.Second, "the kernel dropped the route", equal("", func() string { return w.worker1.routes(vipText) }))
	w.worker1.setLink(true)
	// Before the hold time, so that the sessions never learn of it: what
	// brings the route back is the kernel's own notification.
	eventually(w.t, time.Second, "the route is back", equal(viaMaster1, func() string { return w.worker1.routes(vipText) }))
}

func (w *world) silentMaster() {
	w.established(10 * time.Second)
	w.expect(3*time.Second, birdVia1, viaMaster1)
	w.master1.cut()
	// The hold timer runs from the last keepalive, so it expires within the
	// hold time; half a second is for the machine.
	limit := holdTime*time.Second + 500*time.Millisecond
	began := time.Now()
	w.expect(limit, birdVia2, viaMaster2)
	if took := time.Since(began); took > limit {
		w.t.Errorf("client and workers needed %v, the limit is %v", took, limit)
	}
	eventually(w.t, 5*time.Second, "the ordinary prefix keeps the living next hop",
		equal(ecmp+" via 192.168.80.11 dev eth1 proto bgp metric 30", func() string { return w.worker1.routes(ecmp) }))
}

func (w *world) masterReturns() {
	w.master1.mend()
	w.established(15 * time.Second)
	w.expect(5*time.Second, birdVia1, viaMaster1)
}

func (w *world) killWorker() {
	gaps := w.worker1.watchDeletions(vipText + "/32")
	w.worker1.kill()
	w.worker1.output("ip", "route", "add", "123.123.123.9", "via", "192.168.80.11", "proto", "bgp")
	w.worker1 = w.worker1.start(childOptions{Kind: decide.Peer, Restarting: true})
	stale := func() string { return w.worker1.routes("123.123.123.9") }
	if stale() == "" {
		w.t.Error("the stale route was swept before any session had told")
	}
	w.worker1.apply(request{Op: opApply, BGP: bgpOf(w.worker1.member)})
	eventually(w.t, 15*time.Second, "the stale route is swept", equal("", stale))
	for _, p := range w.worker1.status().Peers {
		if p.State != "established" {
			w.t.Errorf("swept while %s was %s", p.Address, p.State)
		}
	}
	w.expect(time.Second, birdVia1, viaMaster1)
	if n := gaps(); n != 0 {
		w.t.Errorf("worker1 lost its route to the VIP %d times", n)
	}
}

func (w *world) restartMaster() {
	moves := []func() int{
		w.client.watchMoves(vipText+"/32", w.master1.address),
		w.worker1.watchMoves(vipText+"/32", w.master1.address),
	}
	if out := w.master1.call(request{Op: opClose}); out.Error != "" {
		w.t.Fatalf("close: %s", out.Error)
	}
	w.master1.kill() // to have waited for it
	w.master1 = w.master1.start(childOptions{Kind: decide.LB, Restarting: true})
	w.serve(0, 1)
	w.established(15 * time.Second)
	// The standby's path would win if the active one's were ever let go.
	eventually(w.t, 10*time.Second, "the client has both paths, none stale",
		equal("master1* as_path 64512 med 0\nmaster2 as_path 64512 64512 med 10", func() string { return w.client.paths(vipText) }))
	w.expect(time.Second, birdVia1, viaMaster1)
	for i, count := range moves {
		if n := count(); n != 0 {
			w.t.Errorf("%s left the master %d times", []string{"the client", "worker1"}[i], n)
		}
	}
}

func (w *world) withdraw() {
	for _, s := range []*speaker{w.master1, w.master2} {
		s.apply(request{Op: opApply, BGP: bgpOf(s.member)})
	}
	w.expect(3*time.Second, "", "")
	w.worker1.apply(request{Op: opApply})
	eventually(w.t, 3*time.Second, "turned off, the worker has no route by BGP", equal("", func() string { return w.worker1.routes(ecmp) }))
}
