package fib_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-lb/weir/bgp"
	"github.com/weir-lb/weir/bgp/fake"
	"github.com/weir-lb/weir/bgp/fib"
)

var (
	lan = netip.MustParsePrefix("198.51.100.0/24")
	hop = netip.MustParseAddr("198.51.100.10")
	one = netip.MustParsePrefix("192.0.2.1/32")
	two = netip.MustParsePrefix("192.0.2.2/32")
)

func wanted(prefixes ...netip.Prefix) fib.Wanted {
	var w fib.Wanted
	for _, p := range prefixes {
		w.Routes = append(w.Routes, bgp.Route{Prefix: p, NextHops: []netip.Addr{hop}})
	}
	return w
}

func TestBackOffDoublesToHalfAMinute(t *testing.T) {
	k := fake.NewKernel(fib.Observed{Connected: []netip.Prefix{lan}})
	k.FailSteps(errors.New("no buffer space available"))
	table := fib.NewTable(k, nil)
	now := time.Now()
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		res, err := table.Sync(now, wanted(one), true)
		if err != nil || len(res.Problems) != 1 || len(res.Routes) != 0 {
			t.Fatalf("result %+v, %v, want one problem and no route", res, err)
		}
		if got := res.RetryAt.Sub(now); got != wait*time.Second {
			t.Fatalf("retry after %v, want %v", got, wait*time.Second)
		}
		before := len(k.Steps())
		if res, _ = table.Sync(res.RetryAt.Add(-time.Millisecond), wanted(one), true); len(res.Problems) != 1 || len(k.Steps()) != before {
			t.Fatalf("before the time: %+v, and %d more attempts", res, len(k.Steps())-before)
		}
		now = now.Add(wait * time.Second)
	}
	k.FailSteps(nil)
	if res, _ := table.Sync(now, wanted(one), true); len(res.Problems) != 0 || len(res.Routes) != 1 || !res.RetryAt.IsZero() {
		t.Errorf("after success: %+v", res)
	}
}

func TestOneFailureDoesNotStopTheOthers(t *testing.T) {
	k := fake.NewKernel(fib.Observed{
		Connected: []netip.Prefix{lan},
		Foreign:   map[fib.Key]string{{Prefix: one, Metric: fib.MetricOther}: "static"},
	})
	res, err := fib.NewTable(k, nil).Sync(time.Now(), wanted(one, two), true)
	if err != nil || len(res.Routes) != 1 || res.Routes[0].Prefix != two || len(res.Problems) != 1 {
		t.Errorf("result %+v, %v, want %s routed and %s a problem", res, err, two, one)
	}
}

func TestReleaseHappensOnce(t *testing.T) {
	stale := fib.Route{Prefix: one, Metric: fib.MetricOther, NextHops: []netip.Addr{hop}}
	k := fake.NewKernel(fib.Observed{Connected: []netip.Prefix{lan}, Own: []fib.Route{stale}})
	table := fib.NewTable(k, nil)
	for _, tt := range []struct {
		release bool
		want    int
	}{{false, 1}, {false, 1}, {true, 0}, {false, 0}} {
		res, err := table.Sync(time.Now(), wanted(), tt.release)
		if err != nil || len(res.Routes) != tt.want {
			t.Fatalf("release %v: %+v, %v, want %d routes", tt.release, res, err, tt.want)
		}
	}
	// A route of this run is not inherited, whatever release says.
	if _, err := table.Sync(time.Now(), wanted(two), false); err != nil {
		t.Fatal(err)
	}
	if res, err := table.Sync(time.Now(), wanted(), false); err != nil || len(res.Routes) != 0 {
		t.Errorf("withdrawn route stays: %+v, %v", res, err)
	}
}
