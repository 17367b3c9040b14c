package decide

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// The classes (spec.loadBalancerClass) that the controller serves: LoxiLB's,
// so that its manifests work, and weir's own. Services without a class belong
// to whatever default load balancer a cluster has.
const (
	ClassLoxiLB = "loxilb.io/loxilb"
	ClassWeir   = "weir-lb.io/weir"
)

// service is a Service on its way through the decision: read fills what the
// object says, assign the address, resolve the frontends.
type service struct {
	obj *corev1.Service
	key string // namespace/name
	settings
	ports []port
	// wants are its families, with the address that is asked for; together says
	// that one alone will not do.
	wants    []ipam.Want
	together bool
	// told is what the object's status says it holds. Without ports where it
	// does not say for which.
	told ipam.Hold
	// refusal says why the service is not served as it is written.
	refusal *refusal

	given []ipam.Given // as wants

	frontends []v1.Service
	// unreachable says why a frontend has no backend, empty where all have.
	unreachable *refusal
}

// port is one of the Service's ports.
type port struct {
	ipam.Port
	name     string
	nodePort uint16
}

// refusal is a condition's reason and message.
type refusal struct{ reason, message string }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// served says that the service is well and has an address that nodes serve.
func (s *service) served() bool { return s.refusal == nil && s.vip().IsValid() }

// vip is the address that nodes serve it on, zero for none.
func (s *service) vip() netip.Addr {
	for _, g := range s.given {
		if published(g.Address) {
			return g.Address
		}
	}
	return netip.Addr{}
}

func (s *service) ipamPorts() []ipam.Port {
	out := make([]ipam.Port, len(s.ports))
	for i, p := range s.ports {
		out[i] = p.Port
	}
	return out
}

// readServices picks the Services of the controller's classes, the oldest
// first: where two want the same, it was there first. A name that occurs
// twice counts once. A Service that is being deleted is served no more: it
// exists only until its finalizers are off.
func readServices(objects []*corev1.Service, cfg controller.Config) []*service {
	var out []*service
	for _, o := range objects {
		if Serves(o) && o.DeletionTimestamp == nil {
			out = append(out, readService(o, cfg))
		}
	}
	slices.SortStableFunc(out, func(a, b *service) int {
		return cmp.Or(a.obj.CreationTimestamp.Compare(b.obj.CreationTimestamp.Time), strings.Compare(a.key, b.key))
	})
	seen := make(map[string]bool, len(out))
	return slices.DeleteFunc(out, func(s *service) bool {
		twice := seen[s.key]
		seen[s.key] = true
		return twice
	})
}

// Serves says that a Service is of one of the controller's classes.
func Serves(o *corev1.Service) bool {
	if o.Spec.Type != corev1.ServiceTypeLoadBalancer || o.Spec.LoadBalancerClass == nil {
		return false
	}
	c := *o.Spec.LoadBalancerClass
	return c == ClassLoxiLB || c == ClassWeir
}

func readService(o *corev1.Service, cfg controller.Config) *service {
	s := &service{obj: o, key: o.Namespace + "/" + o.Name, told: readTold(o.Status)}
	if s.settings, s.refusal = readAnnotations(o.Annotations, cfg); s.refusal != nil {
		return s
	}
	s.podNetwork = s.podNetwork || withoutNodePorts(o.Spec)
	if s.wants, s.together, s.refusal = readFamilies(o.Spec); s.refusal != nil {
		return s
	}
	if s.ports, s.refusal = readPorts(o.Spec.Ports, s.podNetwork); s.refusal != nil {
		return s
	}
	s.completeProbe(s.ports)
	if s.refusal = s.readClients(); s.refusal != nil {
		return s
	}
	s.refusal = s.readWanted()
	return s
}

// withoutNodePorts says that the owner turned node ports off, and that there is
// none: pods are then reached at their own addresses. Node ports written by
// hand, or left from before, are used as ever.
func withoutNodePorts(spec corev1.ServiceSpec) bool {
	if allocate := spec.AllocateLoadBalancerNodePorts; allocate == nil || *allocate {
		return false
	}
	return !slices.ContainsFunc(spec.Ports, func(p corev1.ServicePort) bool { return p.NodePort != 0 })
}

func readPorts(objects []corev1.ServicePort, podNetwork bool) ([]port, *refusal) {
	if len(objects) == 0 {
		return nil, refuse(ReasonInvalidPort, "spec.ports is empty; give at least one port")
	}
	ports := make([]port, 0, len(objects))
	for i, o := range objects {
		path := fmt.Sprintf("spec.ports[%d]", i)
		protocol, bad := readProtocol(path, o.Protocol)
		switch {
		case bad != nil:
			return nil, bad
		case o.Port < 1 || o.Port > 65535:
			return nil, refuse(ReasonInvalidPort, "%s.port: %d is no port; use 1 to 65535", path, o.Port)
		case o.NodePort < 0 || o.NodePort > 65535:
			return nil, refuse(ReasonInvalidPort, "%s.nodePort: %d is no port; use 1 to 65535", path, o.NodePort)
		case o.NodePort == 0 && !podNetwork:
			return nil, refuse(ReasonNoNodePort, "%s.nodePort is missing; allow node ports, or set %s to yes to use pod addresses",
				path, annotationPodNetwork)
		}
		p := port{Port: ipam.Port{Number: uint16(o.Port), Protocol: protocol}, name: o.Name, nodePort: uint16(o.NodePort)}
		if j := slices.IndexFunc(ports, func(q port) bool { return q.Port == p.Port }); j >= 0 {
			return nil, refuse(ReasonInvalidPort, "%s: %s is spec.ports[%d] already; remove one", path, p.Port, j)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// readProtocol translates Kubernetes' spelling; empty is its default, TCP.
func readProtocol(path string, p corev1.Protocol) (v1.Protocol, *refusal) {
	switch p {
	case "", corev1.ProtocolTCP:
		return v1.TCP, nil
	case corev1.ProtocolUDP:
		return v1.UDP, nil
	case corev1.ProtocolSCTP:
		return v1.SCTP, nil
	}
	return "", refuse(ReasonInvalidProtocol, "%s.protocol: unknown protocol %q; use TCP, UDP or SCTP", path, p)
}
