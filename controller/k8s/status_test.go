package k8s

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
)

type edit func(*corev1.Service)

// service is one that the controller serves and has told everything.
func service(edits ...edit) *corev1.Service {
	class, proxy := "weir-lb.io/weir", corev1.LoadBalancerIPModeProxy
	o := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", UID: "uid-a", Finalizers: []string{Finalizer}, Annotations: map[string]string{mark: "uid-a"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class},
		Status: corev1.ServiceStatus{
			LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "10.0.0.1", IPMode: &proxy}}},
			Conditions: []metav1.Condition{
				{Type: "other.example/Fine", Status: "True", Reason: "Fine"},
				{Type: "weir-lb.io/Accepted", Status: "True", Reason: "Valid"},
				{Type: "weir-lb.io/Reachable", Status: "True", Reason: "EndpointsReady", Message: "3 backends"},
			},
		},
	}
	for _, e := range edits {
		e(o)
	}
	return o
}

func decided(edits ...func(*v1.ControllerService)) *v1.ControllerService {
	d := &v1.ControllerService{
		Namespace: "default", Name: "a", ExternalIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Conditions: []v1.Condition{
			{Type: v1.ConditionAccepted, Status: true, Reason: "Valid"},
			{Type: v1.ConditionReachable, Status: true, Reason: "EndpointsReady", Message: "3 backends"},
		},
	}
	for _, e := range edits {
		e(d)
	}
	return d
}

// says adds what nodes say of the service.
func says(c v1.Condition) func(*v1.ControllerService) {
	c.Type = v1.ConditionProgrammed
	return func(d *v1.ControllerService) { d.Conditions = append(d.Conditions, c) }
}

func unmarked(o *corev1.Service) { delete(o.Annotations, mark) }

// markedBefore has the mark of an earlier version, or of the Service whose
// manifest it was made from.
func markedBefore(o *corev1.Service) { o.Annotations[mark] = "yes" }
func noFinalizer(o *corev1.Service)  { o.Finalizers = nil }
func noStatus(o *corev1.Service)     { o.Status = corev1.ServiceStatus{} }
func clusterIP(o *corev1.Service) {
	o.Spec.Type, o.Spec.LoadBalancerClass = corev1.ServiceTypeClusterIP, nil
}
func beingDeleted(o *corev1.Service) { o.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
func otherClass(o *corev1.Service) {
	class := "other.example/lb"
	o.Spec.LoadBalancerClass = &class
}
func port80(o *corev1.Service) {
	o.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}}
}
func toldPort80(o *corev1.Service) {
	o.Status.LoadBalancer.Ingress[0].Ports = []corev1.PortStatus{{Port: 80, Protocol: corev1.ProtocolTCP}}
}
func noIPMode(o *corev1.Service) { o.Status.LoadBalancer.Ingress[0].IPMode = nil }
func guardedByOther(o *corev1.Service) {
	o.Finalizers = []string{"other.example/x", Finalizer}
}

func TestLacks(t *testing.T) {
	for _, row := range []struct {
		says    string
		object  *corev1.Service
		decided *v1.ControllerService
		want    string
	}{
		{"all was told", service(), decided(), ""},
		{"a new service: the finalizer comes with the address", service(noFinalizer, unmarked, noStatus), decided(),
			"finalizers " + Finalizer + "; marked; ingress 10.0.0.1; conditions Accepted Reachable"},
		{"the mark was taken off by hand", service(unmarked), decided(), "finalizers " + Finalizer + "; marked"},
		{"the finalizer of others stays in front", service(guardedByOther, unmarked), decided(), "finalizers other.example/x " + Finalizer + "; marked"},
		{"another address", service(), decided(func(d *v1.ControllerService) { d.ExternalIPs[0] = netip.MustParseAddr("10.0.0.2") }),
			"ingress 10.0.0.2; conditions Fine Accepted Reachable"},
		{"refused: no address, and the condition that speaks of it goes", service(), decided(func(d *v1.ControllerService) {
			d.ExternalIPs, d.Conditions = nil, []v1.Condition{{Type: v1.ConditionAccepted, Reason: "UnknownMode"}}
		}), "ingress ; conditions Fine Accepted"},
		{"another number of backends alone is no news", service(), decided(func(d *v1.ControllerService) { d.Conditions[1].Message = "2 backends" }), ""},
		{"none of them is", service(), decided(func(d *v1.ControllerService) { d.Conditions[1].Status, d.Conditions[1].Message = false, "none" }),
			"ingress 10.0.0.1; conditions Fine Accepted Reachable"},
		{"an address of an earlier version, which said no ports", service(port80), decided(), "ingress 10.0.0.1 80; conditions Fine Accepted Reachable"},
		{"and with them", service(port80, toldPort80), decided(), ""},
		{"an apiserver that drops ipMode", service(noIPMode), decided(), ""},

		{"of nobody's class and never ours", service(clusterIP, unmarked, noStatus), nil, ""},
		{"deleted", service(beingDeleted), nil, "release; finalizers ; unmarked"},
		{"deleted, and guarded by others too", service(beingDeleted, guardedByOther), nil, "release; finalizers other.example/x; unmarked"},
		{"deleted after a crash between finalizer and status", service(beingDeleted, noStatus), nil, "release; finalizers ; unmarked"},
		{"deleted after a crash of one that wrote no mark: its class is ours", service(beingDeleted, noStatus, unmarked), nil, "release; finalizers ; unmarked"},
		{"its type changed", service(clusterIP), nil, "release; finalizers ; unmarked; ingress ; conditions Fine"},
		{"its class changed, and the other load balancer has given it an address", service(otherClass), nil,
			"release; finalizers ; unmarked; ingress 10.0.0.1; conditions Fine"},
		{"its type changed after a crash between finalizer and status", service(clusterIP, noStatus), nil, "release; finalizers ; unmarked"},
		{"its type changed, and only the conditions are left", service(clusterIP, noFinalizer, unmarked), nil, "ingress ; conditions Fine"},
		{"the mark came with a manifest, and so did the finalizer", service(markedBefore, noStatus), decided(),
			"finalizers " + Finalizer + "; marked; ingress 10.0.0.1; conditions Accepted Reachable"},
		{"the mark of an earlier version, or of a manifest that is applied again and again", service(markedBefore), decided(), ""},
		{"deleted, with the mark of an earlier version", service(beingDeleted, markedBefore), nil, "release; finalizers ; unmarked"},
		{"its type changed under the mark of an earlier version: marked first, as its conditions go", service(clusterIP, markedBefore), nil,
			"finalizers " + Finalizer + "; marked"},
		{"and then deleted", service(clusterIP, markedBefore, beingDeleted), nil, "release; finalizers ; unmarked"},
		{"its type changed, and the mark was taken off by hand", service(clusterIP, unmarked), nil, "finalizers " + Finalizer + "; marked"},
		{"of another class, with the mark of the Service that it is a copy of", service(otherClass, markedBefore, noStatus), nil, ""},
		{"of no such type, with such a mark", service(clusterIP, markedBefore, noStatus), nil, ""},
		{"of another class and being deleted, with such a mark", service(otherClass, markedBefore, noStatus, beingDeleted), nil, ""},
		{"the finalizer is of another load balancer", service(clusterIP, unmarked, noStatus), nil, ""},
	} {
		if got := printChange(lacks(row.object, row.decided, metav1.Unix(2, 0))); got != row.want {
			t.Errorf("%s: lacks %q, want %q", row.says, got, row.want)
		}
	}
}

// TestPaced holds what a new leader, who has heard no node yet, makes of what
// the last one wrote.
func TestPaced(t *testing.T) {
	there := func(status metav1.ConditionStatus) edit {
		return func(o *corev1.Service) {
			o.Status.Conditions = append(o.Status.Conditions, metav1.Condition{Type: "weir-lb.io/Programmed", Status: status, Reason: "Old"})
		}
	}
	unknown, good := says(v1.Condition{Unknown: true, Reason: "Pending"}), says(v1.Condition{Status: true, Reason: "Programmed"})
	for _, row := range []struct {
		says    string
		object  *corev1.Service
		decided *v1.ControllerService
		wait    bool
		want    string
	}{
		{"nothing is there: that nobody knows is news", service(), decided(unknown), false, "unknown Pending"},
		{"nothing is there: what is new need not wait", service(), decided(good), true, "true Programmed"},
		{"nobody knows, and the last leader knew", service(there("False")), decided(unknown), false, "false Old"},
		{"nobody knows, and nobody knew", service(there("Unknown")), decided(unknown), false, "unknown Old"},
		{"nodes say something new", service(there("False")), decided(good), false, "true Programmed"},
		{"nodes say something new too soon", service(there("False")), decided(good), true, "false Old"},
		{"it is served no more", service(there("False")), decided(), true, ""},
	} {
		var got string
		for _, c := range paced(row.object, row.decided, row.wait).Conditions {
			if c.Type == v1.ConditionProgrammed {
				got = c.StatusText() + " " + c.Reason
			}
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.says, got, row.want)
		}
	}
	if paced(service(), nil, true) != nil {
		t.Error("a service that is not the controller's becomes one")
	}
}

// TestConditionThatStaysKeepsItsTime holds the contract of lastTransitionTime.
func TestConditionThatStaysKeepsItsTime(t *testing.T) {
	before := metav1.Unix(1, 0)
	o := service(func(o *corev1.Service) {
		for i := range o.Status.Conditions {
			o.Status.Conditions[i].LastTransitionTime = before
		}
	})
	c := lacks(o, decided(func(d *v1.ControllerService) { d.Conditions[1].Status = false }), metav1.Unix(9, 0))
	for _, got := range c.status.conditions {
		if turned := got.LastTransitionTime != before; turned != (got.Type == "weir-lb.io/Reachable") {
			t.Errorf("%s turned: %v", got.Type, turned)
		}
	}
	if o.Status.Conditions[2].Status != metav1.ConditionTrue {
		t.Error("the watched object was changed")
	}
}

func printChange(c change) string {
	var words []string
	if c.release {
		words = append(words, "release")
	}
	if c.meta != nil {
		marked := "unmarked"
		switch c.meta.annotations[mark] {
		case "":
		case "uid-a":
			marked = "marked"
		default:
			marked = "marked as another Service"
		}
		words = append(words, "finalizers "+strings.Join(c.meta.finalizers, " "), marked)
	}
	if c.status != nil {
		var addresses, types []string
		for _, in := range c.status.ingress {
			addresses = append(addresses, in.IP)
			for _, p := range in.Ports {
				addresses = append(addresses, fmt.Sprint(p.Port))
			}
			if in.IPMode == nil || *in.IPMode != corev1.LoadBalancerIPModeProxy {
				addresses = append(addresses, "without mode Proxy")
			}
		}
		for _, condition := range c.status.conditions {
			types = append(types, condition.Type[strings.Index(condition.Type, "/")+1:])
		}
		words = append(words, "ingress "+strings.Join(addresses, " "), "conditions "+strings.Join(types, " "))
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), "; ")
}
