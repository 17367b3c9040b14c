package k8s

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// TestDeletedServiceWaitsForTheNodes follows one that is deleted: it goes when
// all nodes have dropped it, and when those that lack stay silent for too long.
func TestDeletedServiceWaitsForTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		marks, behind := uint64(7), []string{"master2"}
		c := &Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}
		w := c.NewWriter(WriterOptions{
			Mark: func() uint64 { return marks },
			Behind: func(mark uint64) []string {
				if mark != 7 {
					t.Errorf("asked about mark %d, want that of when it was deleted", mark)
				}
				return behind
			},
		})
		defer w.queue.ShutDown()
		publish := func(o *corev1.Service, decided ...v1.ControllerService) {
			w.Publish(controller.Snapshot{Services: []*corev1.Service{o}}, decided)
		}
		released := func() bool { return w.released("default/a", w.leaving["default/a"]) }

		publish(service(), *decided())
		if len(w.leaving) != 0 || w.queue.Len() != 0 {
			t.Errorf("one that is served leaves: %v", w.leaving)
		}
		publish(service(beingDeleted))
		marks = 8
		publish(service(beingDeleted)) // other things happen meanwhile
		if released() {
			t.Error("it goes while a node serves it")
		}
		behind = nil
		if !released() {
			t.Error("it stays though no node serves it")
		}
		behind = []string{"master2"}
		<-time.After(29 * time.Second)
		if released() {
			t.Error("it goes before the node was waited for")
		}
		<-time.After(time.Second)
		if !released() {
			t.Error("a node that is gone holds it for ever")
		}
		publish(service(beingDeleted, noFinalizer, unmarked))
		if len(w.leaving) != 0 {
			t.Errorf("one that was let go is still waited for: %v", w.leaving)
		}
	})
}

// TestWatchThatIsBehindIsNotAnswered holds that what was written is not written
// again, with a version that is over, before the watch has brought it.
func TestWatchThatIsBehindIsNotAnswered(t *testing.T) {
	version := func(v string) edit { return func(o *corev1.Service) { o.ResourceVersion = v } }
	w := (&Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}).NewWriter(WriterOptions{Mark: func() uint64 { return 0 }})
	defer w.queue.ShutDown()
	w.written["default/a"] = written{versions: []string{"1", "2"}, object: service(version("3"))}
	for _, row := range []struct {
		says   string
		object *corev1.Service
		queued bool
	}{
		{"as it was before", service(version("1"), noFinalizer, unmarked, noStatus), false},
		{"between the two writes", service(version("2"), noStatus), false},
		{"as it was written", service(version("3")), false},
		{"and changed by somebody else", service(version("4"), unmarked), true},
	} {
		w.Publish(controller.Snapshot{Services: []*corev1.Service{row.object}}, []v1.ControllerService{*decided()})
		if got := w.queue.Len() > 0; got != row.queued {
			t.Errorf("%s: queued %v, want %v", row.says, got, row.queued)
		}
	}
	if got := slices.Collect(func(yield func(string) bool) {
		for key := range w.written {
			yield(key)
		}
	}); len(got) != 0 {
		t.Errorf("kept of what was overtaken: %v", got)
	}
}

// TestWritesThatFollowEachOtherAreOneToTheWatch has a second write come before the
// watch has brought the first: an object of before either is still one of before.
func TestWritesThatFollowEachOtherAreOneToTheWatch(t *testing.T) {
	version := func(v string) edit { return func(o *corev1.Service) { o.ResourceVersion = v } }
	w := (&Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}).NewWriter(WriterOptions{Mark: func() uint64 { return 0 }})
	defer w.queue.ShutDown()
	seen, first, second := service(version("1"), noStatus), service(version("2"), noStatus), service(version("3"))
	publish := func(o *corev1.Service) {
		w.Publish(controller.Snapshot{Services: []*corev1.Service{o}}, []v1.ControllerService{*decided()})
	}
	publish(seen)
	w.note("default/a", seen, written{versions: []string{"1"}, object: first})
	publish(seen)
	w.note("default/a", first, written{versions: []string{"2"}, object: second})
	for _, o := range []*corev1.Service{seen, first} {
		publish(o)
		if w.objects["default/a"] != second {
			t.Errorf("version %s took the place of what was written since", o.ResourceVersion)
		}
	}
	overtaken := service(version("4"))
	publish(overtaken)
	if w.objects["default/a"] != overtaken {
		t.Error("what somebody else wrote since is not looked at")
	}
}

// TestWhatNodesSayIsWrittenNowAndThen follows a service whose nodes change their
// minds every second: the first word is written at once, what replaces it four
// times in a minute. Other news do not wait for that.
func TestWhatNodesSayIsWrittenNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// What the writer writes, the test keeps: there is no apiserver.
		w := (&Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}).NewWriter(WriterOptions{Mark: func() uint64 { return 0 }})
		defer w.queue.ShutDown()
		object, began := service(), time.Now()
		var writes []string
		say := func(c v1.Condition, edits ...func(*v1.ControllerService)) {
			w.Publish(controller.Snapshot{Services: []*corev1.Service{object}}, []v1.ControllerService{*decided(append(edits, says(c))...)})
		}
		write := func() {
			synctest.Wait()
			for w.queue.Len() > 0 {
				key, _ := w.queue.Get()
				w.mu.Lock()
				c := w.lacks(key, w.objects[key])
				w.mu.Unlock()
				if c.status != nil {
					next := object.DeepCopy()
					next.Status.Conditions = c.status.conditions
					w.mu.Lock()
					w.note(key, object, written{object: next})
					w.mu.Unlock()
					object = next
					writes = append(writes, fmt.Sprintf("%.0fs %s %s", time.Since(began).Seconds(), programmedOf(object).Status, object.Status.Conditions[2].Reason))
				}
				w.queue.Done(key)
			}
		}
		good, bad := v1.Condition{Status: true, Reason: "Programmed"}, v1.Condition{Reason: "SlotsExhausted"}
		say(v1.Condition{Unknown: true, Reason: "Pending"})
		write()
		for i := range 63 {
			<-time.After(time.Second)
			write() // what the queue brings by itself
			say([]v1.Condition{bad, good}[i%2], func(d *v1.ControllerService) {
				if i >= 10 {
					d.Conditions[1].Status, d.Conditions[1].Reason = false, "NoReadyEndpoints"
				}
			})
			write()
		}
		want := []string{
			"0s Unknown EndpointsReady", "1s False EndpointsReady", "2s True EndpointsReady", "3s False EndpointsReady", "4s True EndpointsReady",
			"5s False EndpointsReady", "11s False NoReadyEndpoints", "62s True NoReadyEndpoints", "63s False NoReadyEndpoints",
		}
		if diff := cmp.Diff(want, writes); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		// It comes to rest with what was said last.
		say(good)
		<-time.After(programmedWithin)
		write()
		if got := programmedOf(object); got.Status != metav1.ConditionTrue {
			t.Errorf("at rest: %+v", got)
		}
	})
}

// TestWhatACompleteServiceLacksLater follows one that lacked nothing: whatever
// changes of it or of what was decided is written, and when it goes nothing is kept.
func TestWhatACompleteServiceLacksLater(t *testing.T) {
	programmed := says(v1.Condition{Status: true, Reason: "Programmed"})
	told := func(o *corev1.Service) {
		o.Status.Conditions = append(o.Status.Conditions, metav1.Condition{Type: "weir-lb.io/Programmed", Status: "True", Reason: "Programmed"})
	}
	there := service(told)
	for _, row := range []struct {
		says            string
		object          *corev1.Service
		decided         []v1.ControllerService
		queued, leaving bool
	}{
		{"the same", there, []v1.ControllerService{*decided(programmed)}, false, false},
		{"the same, decided anew by who has heard no node yet", there, []v1.ControllerService{*decided(says(v1.Condition{Unknown: true, Reason: "Pending"}))}, false, false},
		{"what nodes say", there, []v1.ControllerService{*decided(says(v1.Condition{Reason: "SlotsExhausted"}))}, true, false},
		{"a condition less", there, []v1.ControllerService{*decided()}, true, false},
		{"an address less", there, []v1.ControllerService{*decided(programmed, func(d *v1.ControllerService) { d.ExternalIPs = nil })}, true, false},
		{"not ours any more", there, nil, true, true},
		{"somebody took our mark", service(told, unmarked), []v1.ControllerService{*decided(programmed)}, true, false},
		{"somebody took the finalizer", service(told, noFinalizer), []v1.ControllerService{*decided(programmed)}, true, false},
	} {
		w := (&Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}).NewWriter(WriterOptions{Mark: func() uint64 { return 0 }})
		w.Publish(controller.Snapshot{Services: []*corev1.Service{there}}, []v1.ControllerService{*decided(programmed)})
		if w.queue.Len() != 0 || len(w.complete) != 1 {
			t.Fatalf("%d queued and %d complete, want it complete", w.queue.Len(), len(w.complete))
		}
		w.Publish(controller.Snapshot{Services: []*corev1.Service{row.object}}, row.decided)
		if got := w.queue.Len() > 0; got != row.queued || len(w.leaving) > 0 != row.leaving {
			t.Errorf("%s: queued %v, leaving %v; want %v, %v", row.says, got, len(w.leaving) > 0, row.queued, row.leaving)
		}
		w.Publish(controller.Snapshot{}, nil)
		if len(w.complete) != 0 {
			t.Errorf("%s: kept of a Service that is gone: %v", row.says, w.complete)
		}
		w.queue.ShutDown()
	}
}

// TestACompleteServiceIsLookedAtAgain publishes the same to a Writer and to one
// that forgets which Services lacked nothing: both want the same written.
func TestACompleteServiceIsLookedAtAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cluster := &Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}
		kept, anew := cluster.NewWriter(WriterOptions{Mark: func() uint64 { return 0 }}), cluster.NewWriter(WriterOptions{Mark: func() uint64 { return 0 }})
		defer kept.queue.ShutDown()
		defer anew.queue.ShutDown()
		word := func(o *corev1.Service) { // of nodes
			if rapid.Bool().Draw(t, "told") {
				o.Status.Conditions = append(o.Status.Conditions, metav1.Condition{Type: "weir-lb.io/Programmed", Status: "True", Reason: "Any"})
			}
		}
		object, versions := service(word), 0
		for range rapid.IntRange(4, 12).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"nothing", "object", "write"}).Draw(t, "then") {
			case "object": // somebody else writes it
				versions++
				edits := map[string]edit{
					"as it was": func(*corev1.Service) {}, "unmarked": unmarked, "no finalizer": noFinalizer,
					"no status": noStatus, "being deleted": beingDeleted,
				}
				object = service(word, edits[rapid.SampledFrom(slices.Sorted(maps.Keys(edits))).Draw(t, "object")])
				object.ResourceVersion = fmt.Sprint(versions)
			case "write": // what it is by ours, before the watch has brought it
				versions++
				next := service(word)
				next.ResourceVersion = fmt.Sprint(versions)
				for _, w := range []*Writer{kept, anew} {
					if at := w.objects["default/a"]; at != nil {
						w.note("default/a", at, written{versions: []string{at.ResourceVersion}, object: next})
					}
				}
			}
			var services []v1.ControllerService
			if rapid.Bool().Draw(t, "served") {
				said := v1.Condition{Status: rapid.Bool().Draw(t, "programmed"), Reason: "Any"}
				said.Unknown = !said.Status && rapid.Bool().Draw(t, "unknown")
				services = append(services, *decided(says(said), func(d *v1.ControllerService) {
					d.ExternalIPs = d.ExternalIPs[:rapid.IntRange(0, 1).Draw(t, "addresses")]
				}))
				if rapid.Bool().Draw(t, "silent") {
					services[0].Conditions = services[0].Conditions[:2]
				}
			}
			clear(anew.complete)
			for _, w := range []*Writer{kept, anew} {
				w.Publish(controller.Snapshot{Services: []*corev1.Service{object}}, services)
			}
			if kept.queue.Len() != anew.queue.Len() || len(kept.leaving) != len(anew.leaving) {
				t.Fatalf("%d queued and %d leaving, want %d and %d", kept.queue.Len(), len(kept.leaving), anew.queue.Len(), len(anew.leaving))
			}
			for _, w := range []*Writer{kept, anew} {
				for w.queue.Len() > 0 {
					key, _ := w.queue.Get()
					w.queue.Done(key)
				}
			}
		}
	})
}
