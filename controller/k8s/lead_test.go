package k8s

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeaseIsGivenBackAfterTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var order []string
		ended := make(chan struct{})
		work := func(ctx context.Context) error {
			<-ctx.Done()
			<-time.After(3 * time.Second) // requests that are under way
			order = append(order, "work ends")
			return nil
		}
		time.AfterFunc(time.Second, stop)
		err := (&Cluster{}).whileLeading(ctx, work, ended, func() {
			order = append(order, "lease is given back")
			close(ended)
		})
		if err != nil || !slices.Equal(order, []string{"work ends", "lease is given back"}) {
			t.Errorf("%v, %q", err, order)
		}
	})
}

func TestLostLeaseEndsTheWork(t *testing.T) {
	for _, row := range []struct {
		says  string
		stays time.Duration // of work after its context ended
		took  time.Duration
	}{
		{"work ends at once", 0, time.Second},
		{"work hangs: the process must not wait for it", time.Hour, time.Second + endOfWork},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended, began, over := make(chan struct{}), time.Now(), make(chan struct{})
				defer close(over)
				time.AfterFunc(time.Second, func() { close(ended) })
				err := (&Cluster{}).whileLeading(t.Context(), func(ctx context.Context) error {
					<-ctx.Done()
					select {
					case <-time.After(row.stays):
					case <-over:
					}
					return nil
				}, ended, func() { t.Error("a lease that was lost is given back") })
				if !errors.Is(err, ErrLeadershipLost) || time.Since(began) != row.took {
					t.Errorf("%v after %s, want %v after %s", err, time.Since(began), ErrLeadershipLost, row.took)
				}
			})
		})
	}
}
