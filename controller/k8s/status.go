package k8s

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/decide"
)

// Finalizer keeps a deleted Service until the nodes serve it no more. The name
// is Kubernetes' own: kubectl and the API's documentation know it.
const Finalizer = "service.kubernetes.io/load-balancer-cleanup"

// mark is the annotation that comes and goes with the finalizer, in one write:
// other load balancers use the same finalizer, and a Service whose type changed
// has no class any more that says whose it was. Annotations are copied with
// manifests, so its value is the UID of the Service that it was written to.
const mark = decide.AnnotationServed

// conditionPrefix marks the conditions of a Service that are the controller's.
const conditionPrefix = "weir-lb.io/"

// change is what an object lacks of what was decided. The zero value is nothing.
type change struct {
	// meta is what finalizers and annotations must become, nil where they stay.
	meta *metadata
	// status is what the status must become, nil where it stays.
	status *status
	// release says that meta lets the object go: last, and when no node serves
	// it any more.
	release bool
}

type metadata struct {
	finalizers  []string
	annotations map[string]string
}

// status is the controller's part of a Service's status.
type status struct {
	ingress    []corev1.LoadBalancerIngress
	conditions []metav1.Condition
}

func (c change) empty() bool { return c.meta == nil && c.status == nil }

// claimed says that a Service is the controller's, or was: by its class, or by
// what the controller has written to it. A mark with another value says nothing:
// it came with the manifest of another Service.
func claimed(o *corev1.Service) bool {
	return decide.Serves(o) || marked(o) || slices.ContainsFunc(o.Status.Conditions, ours)
}

func marked(o *corev1.Service) bool {
	value, ok := o.Annotations[mark]
	return ok && value == string(o.UID)
}

// guarded is the metadata of a Service with finalizer and mark.
func guarded(o *corev1.Service) *metadata {
	m := &metadata{slices.Clone(o.Finalizers), maps.Clone(o.Annotations)}
	if m.annotations == nil {
		m.annotations = map[string]string{}
	}
	m.annotations[mark] = string(o.UID)
	if !slices.Contains(m.finalizers, Finalizer) {
		m.finalizers = append(m.finalizers, Finalizer)
	}
	return m
}

func ours(c metav1.Condition) bool { return strings.HasPrefix(c.Type, conditionPrefix) }

// lacks compares an object with what was decided for it; nil stands for a
// Service that is not the controller's, or not any more. now is for conditions
// that turn. What it returns shares nothing with the object.
func lacks(o *corev1.Service, decided *v1.ControllerService, now metav1.Time) change {
	switch {
	case decided != nil:
		return advance(o, decided, now)
	case claimed(o):
		return retreat(o)
	}
	return change{}
}

func advance(o *corev1.Service, decided *v1.ControllerService, now metav1.Time) change {
	var c change
	// Conditions cannot come with a manifest: beside them any mark will do, that
	// of an earlier version, or what a manifest that is applied again and again
	// has in it, and would have again after every write.
	mine := marked(o) || o.Annotations[mark] != "" && slices.ContainsFunc(o.Status.Conditions, ours)
	if !slices.Contains(o.Finalizers, Finalizer) || !mine {
		c.meta = guarded(o)
	}
	want := status{ingress: ingress(o, decided), conditions: conditions(o, decided, now)}
	if !sameIngress(o.Status.LoadBalancer.Ingress, want.ingress) || news(o.Status.Conditions, want.conditions) {
		c.status = &want
	}
	return c
}

// retreat takes what the controller wrote off a Service that it does not serve:
// its type or class changed, or it is being deleted.
func retreat(o *corev1.Service) change {
	var c change
	written := o.DeletionTimestamp == nil && slices.ContainsFunc(o.Status.Conditions, ours)
	if written && slices.Contains(o.Finalizers, Finalizer) && !marked(o) {
		// Once the conditions are off, nothing else would say whose it was.
		return change{meta: guarded(o)}
	}
	if slices.Contains(o.Finalizers, Finalizer) || o.Annotations[mark] != "" {
		c.release = true
		c.meta = &metadata{slices.Clone(o.Finalizers), maps.Clone(o.Annotations)}
		c.meta.finalizers = slices.DeleteFunc(c.meta.finalizers, func(f string) bool { return f == Finalizer })
		delete(c.meta.annotations, mark)
	}
	if written {
		c.status = &status{conditions: slices.DeleteFunc(slices.Clone(o.Status.Conditions), ours)}
		if o.Spec.Type == corev1.ServiceTypeLoadBalancer {
			// A class changes by way of another type, with which the apiserver
			// empties the status: these are the other load balancer's.
			c.status.ingress = slices.Clone(o.Status.LoadBalancer.Ingress)
		}
	}
	return c
}

// conditions are the object's own of others, and exactly those decided. One
// that did not turn keeps its time.
func conditions(o *corev1.Service, decided *v1.ControllerService, now metav1.Time) []metav1.Condition {
	out := slices.Clone(o.Status.Conditions)
	decidedToo := func(c metav1.Condition) bool {
		return slices.ContainsFunc(decided.Conditions, func(d v1.Condition) bool { return conditionPrefix+d.Type == c.Type })
	}
	out = slices.DeleteFunc(out, func(c metav1.Condition) bool { return ours(c) && !decidedToo(c) })
	for _, d := range decided.Conditions {
		turned := metav1.ConditionFalse
		switch {
		case d.Status:
			turned = metav1.ConditionTrue
		case d.Unknown:
			turned = metav1.ConditionUnknown
		}
		meta.SetStatusCondition(&out, metav1.Condition{
			Type: conditionPrefix + d.Type, Status: turned, Reason: d.Reason, Message: d.Message,
			ObservedGeneration: o.Generation, LastTransitionTime: now,
		})
	}
	return out
}

// paced is what was decided, with the condition Programmed as the object has it
// where a new one has to wait, or says only that nobody knows: a new leader has
// heard no node yet, and the last one had.
func paced(o *corev1.Service, decided *v1.ControllerService, wait bool) *v1.ControllerService {
	if decided == nil {
		return nil
	}
	is := func(c v1.Condition) bool { return c.Type == v1.ConditionProgrammed && (wait || c.Unknown) }
	i := slices.IndexFunc(decided.Conditions, is)
	there := programmedOf(o)
	if i < 0 || there == nil {
		return decided
	}
	kept := v1.Condition{
		Type: v1.ConditionProgrammed, Reason: there.Reason, Message: there.Message,
		Status: there.Status == metav1.ConditionTrue, Unknown: there.Status == metav1.ConditionUnknown,
	}
	if decided.Conditions[i] == kept {
		return decided
	}
	out := *decided
	out.Conditions = slices.Clone(decided.Conditions)
	out.Conditions[i] = kept
	return &out
}

func programmedOf(o *corev1.Service) *metav1.Condition {
	return meta.FindStatusCondition(o.Status.Conditions, conditionPrefix+v1.ConditionProgrammed)
}

// rewrote says that a write replaced what an object said of Programmed, other
// than that nobody knew.
func rewrote(before, after *corev1.Service) bool {
	old, next := programmedOf(before), programmedOf(after)
	return old != nil && old.Status != metav1.ConditionUnknown && next != nil &&
		(old.Status != next.Status || old.Reason != next.Reason || old.Message != next.Message)
}

// news says whether conditions are worth a write. The number of backends alone
// is not: each step of a rollout would be one.
func news(before, after []metav1.Condition) bool {
	told := func(list []metav1.Condition) []metav1.Condition {
		list = slices.Clone(list)
		for i := range list {
			if list[i].Type == conditionPrefix+string(v1.ConditionReachable) && list[i].Status == metav1.ConditionTrue {
				list[i].Message = ""
			}
		}
		return list
	}
	return !apiequality.Semantic.DeepEqual(told(before), told(after))
}

// ingress is what kubectl shows as EXTERNAL-IP. ipMode Proxy keeps kube-proxy
// from taking the address for one of the node's own, which would swallow answers
// in the NAT modes (docs/adr/0012-ipmode-proxy.md). The ports are what a restart
// knows them by from what the Service may ask for by then.
func ingress(o *corev1.Service, decided *v1.ControllerService) []corev1.LoadBalancerIngress {
	var ports []corev1.PortStatus
	for _, p := range o.Spec.Ports {
		ports = append(ports, corev1.PortStatus{Port: p.Port, Protocol: p.Protocol})
	}
	var out []corev1.LoadBalancerIngress
	for _, a := range decided.ExternalIPs {
		mode := corev1.LoadBalancerIPModeProxy
		out = append(out, corev1.LoadBalancerIngress{IP: a.String(), IPMode: &mode, Ports: ports})
	}
	return out
}

// sameIngress takes an address without a mode for one that has it: apiservers
// before 1.29 drop the field, and newer ones never leave it out.
func sameIngress(there, want []corev1.LoadBalancerIngress) bool {
	return slices.EqualFunc(there, want, func(a, b corev1.LoadBalancerIngress) bool {
		a.IPMode = cmp.Or(a.IPMode, b.IPMode)
		return apiequality.Semantic.DeepEqual(a, b)
	})
}
