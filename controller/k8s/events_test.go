package k8s

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// eventStore is an apiserver that has Events and nothing else. One goroutine
// asks it.
type eventStore struct {
	took    time.Duration // by each request
	refuses func(e *corev1.Event) error
	names   map[string]bool
	wrote   []string
}

func (s *eventStore) CreateWithEventNamespaceWithContext(ctx context.Context, e *corev1.Event) (*corev1.Event, error) {
	return s.take(ctx, "create", e)
}

func (s *eventStore) PatchWithEventNamespaceWithContext(ctx context.Context, e *corev1.Event, _ []byte) (*corev1.Event, error) {
	return s.take(ctx, "patch", e)
}

func (s *eventStore) take(ctx context.Context, verb string, e *corev1.Event) (*corev1.Event, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.took):
	}
	if err := s.refuses(e); err != nil {
		return nil, err
	}
	if key := e.Namespace + "/" + e.Name; verb == "create" && s.names[key] {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "events"}, key)
	} else {
		s.names[key] = true
	}
	s.wrote = append(s.wrote, fmt.Sprintf("%s %s %s/%s %s %d", verb, e.Type, e.InvolvedObject.Namespace, e.InvolvedObject.Name, e.Reason, e.Count))
	return e.DeepCopy(), nil
}

// eventsTo has Events write to a store until the test ends, and returns what
// they log from info on.
func eventsTo(t *testing.T, s *eventStore) (*Events, *bytes.Buffer) {
	t.Helper()
	e, log, stop := eventsUntil(t, s)
	t.Cleanup(stop)
	return e, log
}

// eventsUntil is eventsTo until stop is called, which returns when they have ended.
func eventsUntil(t *testing.T, s *eventStore) (e *Events, log *bytes.Buffer, stop func()) {
	t.Helper()
	s.names = map[string]bool{}
	if s.refuses == nil {
		s.refuses = func(*corev1.Event) error { return nil }
	}
	log = &bytes.Buffer{}
	e = newEvents(&Cluster{opts: Options{Log: slog.New(slog.NewTextHandler(log, nil))}}, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx) }()
	return e, log, func() { cancel(); <-ended }
}

func named(names ...string) controller.Snapshot {
	var snap controller.Snapshot
	for _, name := range names {
		snap.Services = append(snap.Services, service(noStatus, func(o *corev1.Service) { o.Name = name }))
	}
	return snap
}

func told(name, reason string) v1.Event {
	return v1.Event{Time: time.Now(), Object: "service/default/" + name, Type: "Normal", Reason: reason, Message: reason + " of " + name}
}

// TestEveryServiceGetsItsEvents has ten times as many come at once as client-go's
// broadcaster has room for, from an apiserver that takes its time.
func TestEveryServiceGetsItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const services, took = 5_000, 5 * time.Millisecond
		s := &eventStore{took: took}
		e, log := eventsTo(t, s)
		var names, want []string
		var events []v1.Event
		for i := range services {
			name := fmt.Sprintf("s%d", i)
			names = append(names, name)
			for _, reason := range []string{"Assigned", "EndpointsReady"} {
				events = append(events, told(name, reason))
				want = append(want, "create Normal default/"+name+" "+reason+" 1")
			}
		}
		e.Publish(named(names...), events)
		<-time.After(2*services*took + time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff(want, s.wrote); diff != "" || log.Len() > 0 {
			t.Errorf("-want +got:\n%.2000s\nlog:\n%s", diff, log)
		}
	})
}

func TestEvents(t *testing.T) {
	away := errors.New("connection refused")
	ending := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("namespace is being terminated"))
	busy := apierrors.NewTooManyRequests("later", 1)
	for _, row := range []struct {
		says   string
		events []v1.Event
		fails  []error // of the first requests
		want   []string
	}{
		{"one", []v1.Event{told("a", "Assigned")}, nil, []string{"create Normal default/a Assigned 1"}},
		{"of what is gone", []v1.Event{told("gone", "Removed")}, nil, nil},
		{"of a node", []v1.Event{{Object: "node/n", Type: "Normal", Reason: "Joined"}}, nil, []string{"create Normal /n Joined 1"}},
		{"an apiserver that is away for long", []v1.Event{told("a", "Assigned")}, []error{away, away, busy, away, away, away, away, away, away, away, away, away, away, away},
			[]string{"create Normal default/a Assigned 1"}},
		{"one that is refused for good holds no other up", []v1.Event{told("a", "Assigned"), told("b", "Assigned")}, []error{ending}, []string{"create Normal default/b Assigned 1"}},
		{"one that cannot be written yet neither", []v1.Event{told("a", "Assigned"), told("b", "Assigned")}, []error{away},
			[]string{"create Normal default/b Assigned 1", "create Normal default/a Assigned 1"}},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fails := row.fails
				s := &eventStore{refuses: func(*corev1.Event) (err error) {
					if len(fails) > 0 {
						err, fails = fails[0], fails[1:]
					}
					return err
				}}
				e, log := eventsTo(t, s)
				snap := named("a", "b")
				snap.Nodes = []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n"}}}
				e.Publish(snap, row.events)
				<-time.After(5 * time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(row.want, s.wrote); diff != "" || log.Len() > 0 {
					t.Errorf("-want +got:\n%s\nlog:\n%s", diff, log)
				}
			})
		})
	}
}

// TestEventThatWaitsIsOvertaken holds what bounds the queue, and that repetitions
// are counted.
func TestEventThatWaitsIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &eventStore{took: time.Second}
		e, _ := eventsTo(t, s)
		for range 100 {
			synctest.Wait() // the first is being written
			e.Publish(named("a"), []v1.Event{told("a", "BackendsUnreachable"), told("a", "Programmed")})
		}
		<-time.After(time.Minute)
		e.Publish(named("a"), []v1.Event{told("a", "Programmed")})
		<-time.After(time.Minute)
		synctest.Wait()
		want := []string{"create Normal default/a BackendsUnreachable 1", "create Normal default/a Programmed 1",
			"patch Normal default/a BackendsUnreachable 2", "patch Normal default/a Programmed 2"}
		if diff := cmp.Diff(want, s.wrote); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestEventsThatWaitAtTheEnd holds that they are written, as far as the apiserver
// takes them soon.
func TestEventsThatWaitAtTheEnd(t *testing.T) {
	away := errors.New("connection refused")
	for _, row := range []struct {
		says   string
		events int
		took   time.Duration
		fails  int // of the first requests
		wrote  int
		within time.Duration
		log    string
	}{
		{"none", 0, time.Second, 0, 0, 0, ""},
		{"one that is on its way", 1, time.Second, 0, 1, time.Second, ""},
		{"more", 100, 10 * time.Millisecond, 0, 100, time.Second, ""},
		{"more than the time is for", 1000, 10 * time.Millisecond, 0, 299, lastWords, "events are lost"},
		{"one that waits for another try", 2, 10 * time.Millisecond, 1, 2, 30 * time.Millisecond, ""},
		{"an apiserver that hangs", 2, time.Hour, 0, 0, lastWords, "events=2"},
		{"one that is away", 2, 10 * time.Millisecond, 100, 0, 40 * time.Millisecond, "events=2"},
	} {
		t.Run(row.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fails := row.fails
				s := &eventStore{took: row.took, refuses: func(*corev1.Event) error {
					if fails--; fails >= 0 {
						return away
					}
					return nil
				}}
				e, log, stop := eventsUntil(t, s)
				var names []string
				var events []v1.Event
				for i := range row.events {
					names = append(names, fmt.Sprintf("s%d", i))
					events = append(events, told(names[i], "Assigned"))
				}
				e.Publish(named(names...), events)
				synctest.Wait() // the first is on its way
				began := time.Now()
				stop()
				if took := time.Since(began); took > row.within {
					t.Errorf("ended after %s, want %s", took, row.within)
				}
				if len(s.wrote) < row.wrote || len(s.wrote) > row.wrote+1 || len(s.wrote) > row.events {
					t.Errorf("%d written, want %d", len(s.wrote), row.wrote)
				}
				if !strings.Contains(log.String(), row.log) || (row.log == "" && log.Len() > 0) {
					t.Errorf("log %q, want %q", log, row.log)
				}
			})
		})
	}
}
