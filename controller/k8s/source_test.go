package k8s

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-lb/weir/controller"
)

// TestEchoes holds which updates of a Service left all that it wants.
func TestEchoes(t *testing.T) {
	deleted := metav1.Now()
	for _, row := range []struct {
		says string
		edit func(*corev1.Service)
		want bool
	}{
		{"its version", func(o *corev1.Service) { o.ResourceVersion = "9" }, true},
		{"an address", address, true},
		{"a condition", func(o *corev1.Service) {
			o.Status.Conditions = []metav1.Condition{{Type: "weir-lb.io/Programmed", Status: metav1.ConditionTrue}}
		}, true},
		{"the finalizer and its mark", func(o *corev1.Service) {
			o.Finalizers = []string{Finalizer}
			o.Annotations = map[string]string{mark: "yes"}
		}, true},
		{"its spec", func(o *corev1.Service) { o.Spec.Ports = []corev1.ServicePort{{Port: 81}} }, false},
		{"a label", func(o *corev1.Service) { o.Labels = map[string]string{"a": "b"} }, false},
		{"an annotation", func(o *corev1.Service) { o.Annotations = map[string]string{"loxilb.io/lbmode": "onearm"} }, false},
		{"its end", func(o *corev1.Service) { o.DeletionTimestamp = &deleted }, false},
		{"another Service of its name", func(o *corev1.Service) { o.UID = "another" }, false},
	} {
		before := service()
		before.ResourceVersion = "1"
		after := before.DeepCopy()
		row.edit(after)
		if got := echoes(before, after); got != row.want {
			t.Errorf("%s: %t, want %t", row.says, got, row.want)
		}
	}
	if echoes(someNode(1), someNode(1)) {
		t.Error("a Node echoes")
	}
}

func address(o *corev1.Service) {
	o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
}

// TestEchoesHoldNothingUp has a change come among the writes of a controller that
// has much to write: it is read as soon as alone, and the writes once a second.
func TestEchoesHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Cluster{opts: Options{Log: slog.New(slog.DiscardHandler)}}
		s := c.NewSource(SourceOptions{})
		updates, ended := make(chan controller.Update), make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		go func() { defer close(ended); s.follow(ctx, updates) }()
		defer func() { stop(); <-ended }()
		<-updates
		handler := s.handler(services)
		o := service()
		handler.OnAdd(o, false)
		<-updates
		update := func(edit func(*corev1.Service)) {
			next := o.DeepCopy()
			edit(next)
			handler.OnUpdate(o, next)
			o = next
		}
		began := time.Now()
		var read []time.Duration
		write := time.NewTicker(5 * time.Millisecond)
		defer write.Stop()
		change := time.After(3500 * time.Millisecond)
		for time.Since(began) < 6*time.Second {
			select {
			case <-write.C:
				update(address)
			case <-change:
				update(func(o *corev1.Service) { o.Spec.AllocateLoadBalancerNodePorts = new(bool) })
			case <-updates:
				read = append(read, time.Since(began))
			}
		}
		// Each by the second, and the one that is none when it came; but for the time
		// that changes have to settle.
		want := []time.Duration{1000, 2000, 3000, 3500, 4500, 5500}
		if len(read) != len(want) {
			t.Fatalf("read at %v", read)
		}
		for i, w := range want {
			if late := read[i] - w*time.Millisecond; late < 0 || late > 100*time.Millisecond {
				t.Errorf("read at %v", read)
			}
		}
	})
}
