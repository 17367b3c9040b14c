package k8s

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/decide"
)

// SourceOptions of a Source. All are optional.
type SourceOptions struct {
	// Expect is how many objects of each kind the last leader saw, zero for
	// not known (Memory.Counts).
	Expect Counts
	// LBs are the load balancer nodes that the last leader knew.
	LBs []netip.Addr
	// Absence is how long a node that ran weir counts as one that does, while
	// its pod is away or not ready: as long as its peers keep its routes.
	Absence time.Duration
	// Settle is how long the cluster must rest before it is read, Patience the
	// longest that one which never rests is waited for: a rollout is many
	// events. Optional; zero means 20 ms and 200 ms.
	Settle, Patience time.Duration
	// Echo is the longest that writes to Services which change nothing of what
	// they want are not read: most are the controller's own, one or more for each
	// Service, and a change that comes among them must not wait for their end.
	// Optional; zero means 1 s.
	Echo time.Duration
	// Doubt is how long a cluster that has lost more than half of a kind is
	// not believed. Optional; zero means 60 s.
	Doubt time.Duration
	// Confirm is how often doubted objects are asked for. Optional; zero means
	// 1 s.
	Confirm time.Duration
}

// Source watches Services, EndpointSlices and Nodes of a cluster.
type Source struct {
	cluster *Cluster
	opts    SourceOptions
	mirror  *mirror
	steady  *steady
	change  chan struct{}
	echo    chan struct{}
}

var _ controller.Source = (*Source)(nil)

// NewSource returns a source that asks for nothing before Run, which may be
// called once.
func (c *Cluster) NewSource(o SourceOptions) *Source {
	o.Settle = cmp.Or(o.Settle, 20*time.Millisecond)
	o.Patience = cmp.Or(o.Patience, 200*time.Millisecond)
	o.Echo = cmp.Or(o.Echo, time.Second)
	o.Doubt = cmp.Or(o.Doubt, time.Minute)
	o.Confirm = cmp.Or(o.Confirm, time.Second)
	return &Source{
		cluster: c, opts: o, mirror: newMirror(), steady: newSteady(o.Absence, c.Namespaces()...),
		change: make(chan struct{}, 1), echo: make(chan struct{}, 1),
	}
}

// String names the cluster.
func (s *Source) String() string { return s.cluster.String() }

// Run sends an Update when all kinds are known, and after each change. It
// returns when all its goroutines have.
func (s *Source) Run(ctx context.Context, updates chan<- controller.Update) error {
	factory := informers.NewSharedInformerFactoryWithOptions(s.cluster.client, 0, informers.WithTransform(trim))
	defer factory.Shutdown()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var told []cache.InformerSynced
	for k, informer := range map[kind]cache.SharedIndexInformer{
		services:       factory.Core().V1().Services().Informer(),
		endpointSlices: factory.Discovery().V1().EndpointSlices().Informer(),
		nodes:          factory.Core().V1().Nodes().Informer(),
	} {
		registered, err := informer.AddEventHandler(s.handler(k))
		if err != nil {
			return fmt.Errorf("watch %s: %w", k, err)
		}
		// Of the handler, not of the informer: the mirror has to have it all.
		told = append(told, registered.HasSynced)
	}
	factory.StartWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), told...) || !s.awaitExpected(ctx) {
		return nil
	}
	s.steady.remember(s.opts.LBs, list[*corev1.Node](s.mirror, nodes), time.Now())
	confirmed := make(chan struct{})
	go func() { defer close(confirmed); s.confirmAll(ctx) }()
	s.follow(ctx, updates)
	<-confirmed
	return nil
}

// handler tells the mirror. A tombstone is an object that a new list lacks,
// though no watch told of its end.
func (s *Source) handler(k kind) cache.ResourceEventHandler {
	put := func(o any, signal func()) {
		if object, ok := o.(metav1.Object); ok {
			s.mirror.put(k, object)
			signal()
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { put(o, s.changed) },
		UpdateFunc: func(before, o any) {
			if echoes(before, o) {
				put(o, s.echoed)
			} else {
				put(o, s.changed)
			}
		},
		DeleteFunc: func(o any) {
			if t, lost := o.(cache.DeletedFinalStateUnknown); lost {
				s.mirror.missing(k, t.Key, time.Now())
			} else if object, ok := o.(metav1.Object); ok {
				s.mirror.deleted(k, keyOf(object))
			}
			s.changed()
		},
	}
}

func (s *Source) changed() { signal(s.change) }
func (s *Source) echoed()  { signal(s.echo) }

// signal wakes whoever waits on c, or is about to.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// echoes says that an update of a Service left all that it wants.
func echoes(before, after any) bool {
	a, ok := before.(*corev1.Service)
	b, ok2 := after.(*corev1.Service)
	return ok && ok2 && a.UID == b.UID && a.DeletionTimestamp.Equal(b.DeletionTimestamp) && apiequality.Semantic.DeepEqual(a.Spec, b.Spec) &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(wishes(a), wishes(b))
}

// wishes are the annotations that others write.
func wishes(o *corev1.Service) map[string]string {
	out := maps.Clone(o.Annotations)
	delete(out, mark)
	return out
}

// follow sends the first Update and then one whenever changes have settled.
func (s *Source) follow(ctx context.Context, updates chan<- controller.Update) {
	settle := time.NewTimer(0)
	defer settle.Stop()
	again := time.NewTimer(0) // when an instance that is away is so for good
	again.Stop()
	defer again.Stop()
	echo := time.NewTimer(0) // when echoes are due
	echo.Stop()
	defer echo.Stop()
	echoing := false
	since := time.Now() // of the first change that was not sent yet
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			s.changed()
		case <-s.echo:
			if !echoing {
				echoing = true
				echo.Reset(s.opts.Echo)
			}
		case <-echo.C:
			s.changed()
		case <-s.change:
			if since.IsZero() {
				since = time.Now()
			}
			settle.Reset(min(s.opts.Settle, max(0, s.opts.Patience-time.Since(since))))
		case <-settle.C:
			since, echoing = time.Time{}, false
			echo.Stop()
			u, left := s.update(time.Now())
			if left > 0 {
				again.Reset(left)
			}
			select {
			case updates <- u:
			case <-ctx.Done():
				return
			}
		}
	}
}

// update reads the mirror. Objects that are doubted are still there. Where again is not zero, the next one is due then
// though nothing changes.
func (s *Source) update(now time.Time) (u controller.Update, again time.Duration) {
	u = controller.Update{Snapshot: controller.Snapshot{
		Services: list[*corev1.Service](s.mirror, services),
		Slices:   list[*discoveryv1.EndpointSlice](s.mirror, endpointSlices),
		Nodes:    list[*corev1.Node](s.mirror, nodes),
	}}
	for _, k := range kinds {
		if n := s.mirror.doubts(k); n > 0 {
			u.Problems = append(u.Problems, v1.Problem{Object: string(k), Reason: "ObjectsLost", Message: fmt.Sprintf(
				"the apiserver no longer lists %d %s that nobody was seen to delete; they are served until it says of each that it is gone", n, k)})
		}
	}
	return u, s.steady.hold(&u.Snapshot, now)
}

// told lists the addresses that the status of a Service says it holds, as it was
// seen last.
func (s *Source) told(service string) []netip.Addr {
	o, _ := s.mirror.get(services, service).(*corev1.Service)
	if o == nil {
		return nil
	}
	return decide.Told(o)
}

// trim drops what no decision reads: most of an object's memory.
func trim(o any) (any, error) {
	if object, ok := o.(metav1.Object); ok {
		object.SetManagedFields(nil)
	}
	if n, ok := o.(*corev1.Node); ok {
		n.Status.Images, n.Status.VolumesInUse, n.Status.VolumesAttached = nil, nil, nil
	}
	return o, nil
}
