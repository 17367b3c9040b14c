package loop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
	"github.com/weir-lb/weir/controller/push"
)

// scripted is a source that sends what the test says.
type scripted chan controller.Update

func (s scripted) String() string { return "a test" }

func (s scripted) Run(ctx context.Context, updates chan<- controller.Update) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, open := <-s:
			if !open {
				return errors.New("the source broke")
			}
			updates <- u
		}
	}
}

// disk is a memory that may be full.
type disk struct {
	memory controller.Memory
	mu     sync.Mutex
	full   bool
}

func (d *disk) makeRoom() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = false
}

func (d *disk) Memory() controller.Memory { return d.memory }

func (d *disk) Save(m controller.Memory) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory = m
	if d.full {
		return errors.New("no space left on device")
	}
	return nil
}

func service(name string, port int32) *corev1.Service {
	class := "loxilb.io/loxilb"
	s := &corev1.Service{}
	s.Namespace, s.Name = "default", name
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class,
		Ports: []corev1.ServicePort{{Port: port, NodePort: 30080}},
	}
	return s
}

func snapshot(services ...*corev1.Service) controller.Update {
	return controller.Update{Snapshot: controller.Snapshot{Services: services}}
}

// inBubble runs a loop whose source is the channel, without nodes.
func inBubble(t *testing.T, memory *disk, test func(l *Loop, source scripted, told *[]string)) {
	inBubbleWith(t, memory, func(push.Target) (push.Node, error) { return nil, errors.New("there are no nodes") }, test)
}

func inBubbleWith(t *testing.T, memory *disk, dial func(push.Target) (push.Node, error), test func(l *Loop, source scripted, told *[]string)) {
	synctest.Test(t, func(t *testing.T) {
		pools, err := ipam.ParsePools("10.0.0.0/24")
		if err != nil {
			t.Fatal(err)
		}
		source := make(scripted)
		var told []string
		l := New(Options{
			Version: "test", Source: source, Config: controller.Config{Pools: pools}, Memory: memory,
			Pusher: push.New(push.Options{Epoch: 1, Dial: dial}),
			Notify: func(events []v1.Event, problems []v1.Problem, skipped []string) {
				for _, e := range events {
					told = append(told, e.Object+" "+e.Reason)
				}
				for _, p := range problems {
					told = append(told, p.Object+" "+p.Reason)
				}
				told = append(told, skipped...)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		test(l, source, &told)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestUpdatesBecomeStatusAndNews(t *testing.T) {
	inBubble(t, &disk{}, func(l *Loop, source scripted, told *[]string) {
		if l.Ready() {
			t.Error("ready before the first decision")
		}
		u := snapshot(service("a", 80))
		u.Problems = []v1.Problem{{Object: "x.yaml:1", Reason: "InvalidManifest"}}
		u.Skipped = []string{"Pod p"}
		source <- u
		synctest.Wait()
		want := "service/default/a Assigned; service/default/a NoReadyEndpoints; service/default/a NoNode; x.yaml:1 InvalidManifest; Pod p"
		if got := strings.Join(*told, "; "); got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
		s := l.Status()
		if !l.Ready() || len(s.Services) != 1 || len(s.Problems) != 1 || len(s.Events) != 3 || s.Events[0].Time.IsZero() || s.Source != "a test" {
			t.Errorf("status %+v", s)
		}
		// What was told is not told again, what is mended is gone.
		*told = nil
		u.Skipped = nil
		source <- u
		source <- snapshot(service("a", 80))
		synctest.Wait()
		if len(*told) != 0 || len(l.Status().Problems) != 0 {
			t.Errorf("told %v, problems %v", *told, l.Status().Problems)
		}
	})
}

func TestMemoryThatCannotBeSavedIsTold(t *testing.T) {
	memory := &disk{full: true}
	inBubble(t, memory, func(l *Loop, source scripted, _ *[]string) {
		source <- snapshot(service("a", 80))
		synctest.Wait()
		s := l.Status()
		if len(s.Problems) != 1 || s.Problems[0].Reason != "MemoryNotSaved" || s.Problems[0].Message != "no space left on device" {
			t.Errorf("problems %+v", s.Problems)
		}
		if len(s.Services) != 1 || len(s.Services[0].ExternalIPs) != 1 {
			t.Errorf("the service waits for the disk: %+v", s.Services)
		}
	})
	if len(memory.memory.Addresses) != 1 {
		t.Errorf("memory %+v", memory.memory)
	}
}

// TestNothingIsPromisedThatCouldBeForgotten holds that the cluster is told of
// a decision only once it is saved, and that saving is tried again by itself.
func TestNothingIsPromisedThatCouldBeForgotten(t *testing.T) {
	memory, n := &disk{full: true}, &reporter{}
	dial := func(push.Target) (push.Node, error) { return n, nil }
	inBubbleWith(t, memory, dial, func(l *Loop, source scripted, _ *[]string) {
		var published []string // under the disk's lock
		l.opts.Publish = func(snap controller.Snapshot, services []v1.ControllerService, _ []v1.Event) {
			memory.mu.Lock()
			defer memory.mu.Unlock()
			published = append(published, fmt.Sprintf("%d %s", len(snap.Services), services[0].ExternalIPs))
		}
		u := snapshot(service("a", 80))
		u.Snapshot.Slices = []*discoveryv1.EndpointSlice{lbSlice()}
		source <- u
		<-time.After(saveAgain / 2) // a node reports
		synctest.Wait()
		memory.mu.Lock()
		if len(published) != 0 || l.Status().Services[0].Conditions[3].Unknown {
			t.Errorf("promised %v, told %+v", published, l.Status().Services[0])
		}
		memory.mu.Unlock()
		memory.makeRoom()
		<-time.After(saveAgain)
		synctest.Wait()
		memory.mu.Lock()
		defer memory.mu.Unlock()
		if len(published) != 1 || published[0] != "1 [10.0.0.1]" {
			t.Errorf("published %v", published)
		}
	})
}

// reporter is a node that takes every state and reports what the test says.
type reporter struct {
	mu     sync.Mutex
	status v1.OwnerStatus
	fault  *v1.ServiceFault
	sent   int // states and changes
}

func (r *reporter) PutState(_ context.Context, owner string, s v1.NodeState) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = v1.OwnerStatus{Owner: owner, Desired: s.Generation, Applied: s.Generation}
	r.sent++
	return nil
}

func (r *reporter) PatchState(_ context.Context, owner string, c v1.NodeChange) error {
	return r.PutState(context.Background(), owner, v1.NodeState{Generation: c.Generation})
}

func (r *reporter) OwnerStatus(context.Context, string) (v1.OwnerStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status, nil
}

func (r *reporter) Report(context.Context, string) (v1.OwnerReport, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := v1.OwnerReport{OwnerStatus: r.status}
	if r.fault != nil {
		report.Faults = append(report.Faults, *r.fault)
	}
	return report, nil
}

func (r *reporter) Close() {}

func (r *reporter) says(f *v1.ServiceFault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// What nodes report is told, once, and sends no node anything: else what one
// says would come back to it.
func TestReportsAreToldAndPushNothing(t *testing.T) {
	n := &reporter{}
	dial := func(push.Target) (push.Node, error) { return n, nil }
	inBubbleWith(t, &disk{}, dial, func(l *Loop, source scripted, told *[]string) {
		var published []string
		l.opts.Publish = func(_ controller.Snapshot, services []v1.ControllerService, _ []v1.Event) {
			for _, c := range services[0].Conditions {
				if c.Type == v1.ConditionProgrammed {
					published = append(published, c.StatusText()+" "+c.Reason)
				}
			}
		}
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		u := snapshot(service("a", 80))
		u.Snapshot.Slices = []*discoveryv1.EndpointSlice{lbSlice()}
		source <- u
		pass(5 * time.Second)
		n.says(&v1.ServiceFault{
			Frontend:  v1.Frontend{VIP: l.Status().Services[0].ExternalIPs[0], Port: 80, Protocol: v1.TCP},
			Condition: v1.Condition{Type: v1.ConditionProgrammed, Reason: "SlotsExhausted", Message: "no slots left"},
		})
		pass(15 * time.Second)
		conditions := l.Status().Services[0].Conditions
		if c := conditions[len(conditions)-1]; c.Status || c.Message != "master1: no slots left" {
			t.Errorf("status says %+v", c)
		}
		n.says(nil)
		pass(time.Minute)
		if got, want := strings.Join(published, "; "), "unknown Pending; true Programmed; false SlotsExhausted; true Programmed"; got != want {
			t.Errorf("published %s\nwant      %s", got, want)
		}
		if got, want := strings.Join((*told)[len(*told)-2:], "; "), "service/default/a SlotsExhausted; service/default/a Programmed"; got != want {
			t.Errorf("told last %s, want %s", got, want)
		}
		if n.sent != 1 {
			t.Errorf("%d states were sent, want the first alone", n.sent)
		}
	})
}

// lbSlice has weir run as load balancer on master1.
func lbSlice() *discoveryv1.EndpointSlice {
	node, port := "master1", int32(11111)
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: &port}}}
	s.Namespace, s.Name, s.Labels = "kube-system", "weir-lb-x", map[string]string{discoveryv1.LabelServiceName: "weir-lb"}
	s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"192.168.80.10"}, NodeName: &node}}
	return s
}

func TestOldEventsAreForgotten(t *testing.T) {
	inBubble(t, &disk{}, func(l *Loop, source scripted, _ *[]string) {
		for i := range 3 * maxEvents {
			source <- snapshot(service(fmt.Sprintf("s%d", i), 80))
		}
		synctest.Wait()
		e := l.Status().Events
		if len(e) != maxEvents || e[len(e)-1].Object != fmt.Sprintf("service/default/s%d", 3*maxEvents-2) {
			t.Errorf("%d events, the last of %+v", len(e), e[len(e)-1])
		}
	})
}

func TestSourceThatFailsEndsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := make(scripted)
		close(source)
		l := New(Options{Source: source, Memory: &disk{}, Pusher: push.New(push.Options{})})
		if err := l.Run(t.Context()); err == nil || err.Error() != "the source broke" {
			t.Errorf("got %v", err)
		}
	})
}

// TestConfigurationChanges holds that another configuration is decided on at
// once, with what the source said last, and that a problem of it is told until
// it is over.
func TestConfigurationChanges(t *testing.T) {
	inBubble(t, &disk{}, func(l *Loop, source scripted, _ *[]string) {
		other := l.opts.Config
		var err error
		if other.Pools, err = ipam.ParsePools("10.9.0.0/24"); err != nil {
			t.Fatal(err)
		}
		pool := func() string { synctest.Wait(); return l.Status().Pools[0].Ranges[0] }
		problems := func() int { synctest.Wait(); return len(l.Status().Problems) }

		// Before the first update nothing is decided; the newest configuration counts.
		l.Configure(&other, nil)
		l.Configure(nil, []v1.Problem{{Object: "file", Reason: "Bad"}})
		if synctest.Wait(); l.Ready() {
			t.Error("decided without a cluster")
		}
		source <- snapshot(service("a", 80))
		if got := pool(); got != "10.9.0.1-10.9.0.254" || problems() != 1 {
			t.Errorf("pool %s, %d problems", got, problems())
		}
		third := other
		if third.Pools, err = ipam.ParsePools("10.8.0.0/24"); err != nil {
			t.Fatal(err)
		}
		l.Configure(&third, nil)
		if got := pool(); got != "10.8.0.1-10.8.0.254" || problems() != 0 {
			t.Errorf("pool %s, %d problems", got, problems())
		}
		if got := len(l.Status().Services); got != 1 {
			t.Errorf("%d services after the change", got)
		}
	})
}
