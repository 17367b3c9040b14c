package loop

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

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
	full   bool
}

func (d *disk) Memory() controller.Memory { return d.memory }

func (d *disk) Save(m controller.Memory) error {
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

// inBubble runs a loop whose source is the channel.
func inBubble(t *testing.T, memory *disk, test func(l *Loop, source scripted, told *[]string)) {
	synctest.Test(t, func(t *testing.T) {
		pools, err := ipam.ParsePools("10.0.0.0/24")
		if err != nil {
			t.Fatal(err)
		}
		source := make(scripted)
		var told []string
		l := New(Options{
			Version: "test", Source: source, Config: controller.Config{Pools: pools}, Memory: memory,
			Pusher: push.New(push.Options{Epoch: 1, Dial: func(push.Target) (push.Node, error) { return nil, errors.New("there are no nodes") }}),
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
		want := "service/default/a Assigned; service/default/a NoReadyEndpoints; x.yaml:1 InvalidManifest; Pod p"
		if got := strings.Join(*told, "; "); got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
		s := l.Status()
		if !l.Ready() || len(s.Services) != 1 || len(s.Problems) != 1 || len(s.Events) != 2 || s.Events[0].Time.IsZero() || s.Source != "a test" {
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
	memory := &disk{full: true}
	inBubble(t, memory, func(l *Loop, source scripted, _ *[]string) {
		var published []string
		l.opts.Publish = func(snap controller.Snapshot, services []v1.ControllerService, _ []v1.Event) {
			published = append(published, fmt.Sprintf("%d %s", len(snap.Services), services[0].ExternalIPs))
		}
		source <- snapshot(service("a", 80))
		synctest.Wait()
		if len(published) != 0 {
			t.Errorf("promised %v", published)
		}
		memory.full = false
		<-time.After(saveAgain)
		synctest.Wait()
		if len(published) != 1 || published[0] != "1 [10.0.0.1]" {
			t.Errorf("published %v", published)
		}
	})
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
