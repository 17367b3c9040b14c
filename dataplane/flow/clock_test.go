package flow

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weir-lb/weir/dataplane/loader"
	"github.com/weir-lb/weir/internal/leaktest"
	"github.com/weir-lb/weir/internal/waittest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestClockTellsTicksFromTheKernel(t *testing.T) {
	loaded, err := loader.Load(loader.Options{WithoutXDP: true})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer loaded.Close()
	clock, err := NewClock(loaded.Clock)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := clock.Now(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("waits against its context: %v", err)
	}
	first, err := clock.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	var ticked time.Duration
	waittest.Eventually(t, func() string {
		now, err := clock.Now(t.Context())
		if err != nil {
			return err.Error()
		}
		if ticked = now.Since(first.jiffies); ticked < 300*time.Millisecond {
			return fmt.Sprintf("only %v have ticked", ticked)
		}
		return ""
	})
	elapsed := time.Since(started)
	if elapsed < 200*time.Millisecond || elapsed > ticked+time.Second {
		t.Errorf("ticks say %v, the clock says %v", ticked, elapsed)
	}
}
