package k8s

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/client-go/tools/cache"
)

// askedAtOnce is how many doubted objects are asked for at a time.
const askedAtOnce = 16

// Counts says how many objects of each kind there are: of Services those that
// are the controller's, of the others all.
type Counts map[string]int

// Counts are those of the mirror now.
func (s *Source) Counts() Counts {
	all := func(metav1.Object) bool { return true }
	return Counts{
		string(services):       s.mirror.count(services, func(o metav1.Object) bool { return isService(o, claimed) }),
		string(endpointSlices): s.mirror.count(endpointSlices, all),
		string(nodes):          s.mirror.count(nodes, all),
	}
}

func isService(o metav1.Object, passes func(*corev1.Service) bool) bool {
	s, ok := o.(*corev1.Service)
	return ok && passes(s)
}

// short names the kinds of which less than half is there.
func (expected Counts) short(there Counts) []string {
	var out []string
	for _, k := range kinds {
		if n, want := there[string(k)], expected[string(k)]; 2*n < want {
			out = append(out, fmt.Sprintf("%d of %d %s", n, want, k))
		}
	}
	return out
}

// awaitExpected holds a fresh process back while the apiserver lists much less
// than the last leader saw. It has no object of before to keep, and would take
// the services from the nodes. False says that ctx ended.
func (s *Source) awaitExpected(ctx context.Context) bool {
	tick := time.NewTicker(s.opts.Settle)
	defer tick.Stop()
	until, told := time.Now().Add(s.opts.Doubt), false
	for {
		short := s.opts.Expect.short(s.Counts())
		if len(short) == 0 || time.Now().After(until) {
			return ctx.Err() == nil
		}
		if !told {
			s.cluster.opts.Log.Warn("the apiserver lists less than half of what the last leader saw; nodes keep what they have until it is back, or that long",
				"listed", strings.Join(short, ", "), "wait", s.opts.Doubt)
			told = true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// confirmAll asks for doubted objects until ctx ends.
func (s *Source) confirmAll(ctx context.Context) {
	tick := time.NewTicker(s.opts.Confirm)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, k := range kinds {
				s.confirm(ctx, k, s.mirror.due(k, time.Now(), s.opts.Doubt))
			}
		}
	}
}

// confirm asks for objects by name and drops those that are gone. It stops at
// the first that the apiserver cannot answer: it is away, and the next tick
// asks again.
func (s *Source) confirm(ctx context.Context, k kind, keys []string) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for _, key := range keys {
		group.Go(func() error {
			gone, err := s.gone(ctx, k, key)
			if gone && s.mirror.gone(k, key) {
				s.changed()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		s.cluster.opts.Log.Debug("ask for a doubted object", "kind", k, "error", err)
	}
}

// gone asks for one object by name, from the quorum and not from a cache.
func (s *Source) gone(ctx context.Context, k kind, key string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return false, err
	}
	switch client := s.cluster.client; k {
	case services:
		_, err = client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	case endpointSlices:
		_, err = client.DiscoveryV1().EndpointSlices(namespace).Get(ctx, name, metav1.GetOptions{})
	case nodes:
		_, err = client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}
