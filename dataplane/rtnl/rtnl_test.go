package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func message(messageType uint16, payload int) []byte {
	m := make([]byte, unix.NLMSG_HDRLEN+payload)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], messageType)
	for len(m)%unix.NLMSG_ALIGNTO != 0 {
		m = append(m, 0)
	}
	return m
}

func TestKindsIn(t *testing.T) {
	long := message(unix.RTM_NEWROUTE, 8)
	binary.NativeEndian.PutUint32(long, 1000)
	tests := []struct {
		name     string
		datagram []byte
		want     Kind
	}{
		{"a link", message(unix.RTM_NEWLINK, 17), Links},
		{"a neighbour that goes", message(unix.RTM_DELNEIGH, 12), Neighbours},
		{"a rule is a route", message(unix.RTM_NEWRULE, 12), Routes},
		{"several in one", append(message(unix.RTM_NEWADDR, 9), message(unix.RTM_DELROUTE, 4)...), Addresses | Routes},
		{"nothing of ours", message(unix.RTM_NEWQDISC, 4), 0},
		{"cut short", message(unix.RTM_NEWLINK, 0)[:7], All},
		{"lying length", long, All},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := kindsIn(tt.datagram); got != tt.want {
				t.Errorf("got %b, want %b", got, tt.want)
			}
		})
	}
}

func FuzzKindsIn(f *testing.F) {
	f.Add(message(unix.RTM_NEWLINK, 17))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if len(datagram) > 0 && len(datagram) < unix.NLMSG_HDRLEN && kindsIn(datagram) != All {
			t.Error("a cut message does not mean all")
		}
	})
}

// A hundred changes within one interval make two calls: the first at once,
// the rest together.
func TestPaceGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan Kind)
		var calls []Kind
		ended := make(chan error)
		go func() {
			ended <- pace(ctx, changes, time.Second, 0, func(_ context.Context, k Kind) error {
				calls = append(calls, k)
				return nil
			})
		}()
		synctest.Wait()
		changes <- Links
		for range 99 {
			changes <- Routes
			changes <- Neighbours
		}
		<-time.After(3 * time.Second)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if len(calls) != 2 || calls[0] != Links || calls[1] != Routes|Neighbours {
			t.Errorf("calls: %b, want Links, then Routes and Neighbours", calls)
		}
	})
}

func TestPaceTicksAndStopsOnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		enough := errors.New("enough")
		calls := 0
		err := pace(t.Context(), nil, time.Second, 10*time.Second, func(_ context.Context, k Kind) error {
			if calls++; k != 0 {
				t.Errorf("a tick tells of %b", k)
			}
			if calls == 3 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || time.Since(started) != 30*time.Second {
			t.Errorf("ended with %v after %v", err, time.Since(started))
		}
	})
}

func TestNextEndsWithItsContext(t *testing.T) {
	l, err := Listen(All)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- l.Follow(ctx, time.Millisecond, 0, func(context.Context, Kind) error { return nil })
	}()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Follow does not end with its context")
	}
}
