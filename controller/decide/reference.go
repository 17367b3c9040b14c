package decide

import (
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Annotation is one that the controller reads from Services.
type Annotation struct {
	// Name is without its prefix.
	Name string
	// Values and Meaning are for a person.
	Values, Meaning string

	read func(s *settings, key, value string) *refusal
}

// Annotations lists all that are read, in the order of the reference.
func Annotations() []Annotation { return slices.Clone(annotationTable) }

// annotationTable is what apply goes by.
var annotationTable = []Annotation{
	{"lbmode", "default, onearm, fullnat", "how packets are translated; without it --setLBMode", func(s *settings, key, value string) (bad *refusal) {
		s.mode, bad = readMode(key, value)
		return bad
	}},
	{"liveness", "yes, no", "probe the backends; without it --monitor", func(s *settings, key, value string) (bad *refusal) {
		s.monitor, bad = readYesNo(key, value)
		return bad
	}},
	{"withdraw", "yes, no", "do not announce the address while no service on it has a live backend; without it --withdraw", func(s *settings, key, value string) (bad *refusal) {
		s.withdraw, bad = readYesNo(key, value)
		return bad
	}},
	{"usepodnetwork", "yes, no", "send to pods, and not to node ports; without it --usePodNetwork", func(s *settings, key, value string) (bad *refusal) {
		s.podNetwork, bad = readYesNo(key, value)
		return bad
	}},
	{"timeout", "seconds, or a duration such as 30m", "how long an idle flow is kept", func(s *settings, key, value string) (bad *refusal) {
		s.idleTimeout, bad = readTimeout(key, value)
		return bad
	}},
	{"poolSelect", "name of a pool", "the pool of --cidrPools and --cidr6Pools that gives the addresses", func(s *settings, _, value string) *refusal {
		s.pool = value
		return nil
	}},
	{"staticIP", "address, or one of each family, comma separated", "the addresses to give, as spec.loadBalancerIP", func(s *settings, key, value string) *refusal {
		s.staticIP, s.staticIPKey = value, key
		return nil
	}},
	{"epselect", "rr, roundrobin, hash, persist", "how a backend is chosen; hash by the client's address and port, alike on all LB nodes, so that in mode default and fullnat connections go on by the next node, where no sessionAffinity keeps the backend; persist is spec.sessionAffinity: ClientIP, other values are ignored", func(s *settings, key, value string) *refusal {
		s.readSelection(key, value)
		return nil
	}},
	probeAnnotation("probetype", "none, ping, tcp, udp, sctp, http, https", "how backends are probed", func(p *probe, value string) error {
		p.off, p.spec.Type = value == "none", v1.ProbeType(value)
		if p.off {
			p.spec.Type = ""
		}
		return nil
	}),
	probeAnnotation("probeport", "0 to 65535", "port to probe, 0 for the endpoint's own", func(p *probe, value string) (err error) {
		p.spec.Port, err = readPort(value)
		return err
	}),
	probeAnnotation("probereq", "text", "what to send, or the path of an HTTP request", func(p *probe, value string) error {
		p.spec.Request = value
		return nil
	}),
	probeAnnotation("proberesp", "text", "what the answer must have", func(p *probe, value string) error {
		p.spec.Expect = value
		return nil
	}),
	// LoxiLB's name for what is a period there.
	probeAnnotation("probetimeout", "seconds, or a duration such as 500ms", "time between two probes", func(p *probe, value string) (err error) {
		p.spec.PeriodMilliseconds, err = readMilliseconds(value)
		return err
	}),
	probeAnnotation("probewait", "seconds, or a duration such as 500ms", "how long an answer may take", func(p *probe, value string) (err error) {
		p.spec.TimeoutMilliseconds, err = readMilliseconds(value)
		return err
	}),
	probeAnnotation("proberetries", "number", "how many failures in a row, after the first, are forgiven", func(p *probe, value string) (err error) {
		p.spec.Failures, err = readRetries(value)
		return err
	}),
}

// probeAnnotation never refuses a Service: its fault makes the probe void.
func probeAnnotation(name, values, meaning string, read func(p *probe, value string) error) Annotation {
	return Annotation{name, values, meaning, func(s *settings, key, value string) *refusal {
		s.probe.note(key, name, read(&s.probe, value))
		return nil
	}}
}

// Unserved is an annotation of LoxiLB that has no effect here.
type Unserved struct{ Name, Instead string }

// UnservedAnnotations lists those of LoxiLB that are named as ignored in the
// condition Accepted.
func UnservedAnnotations() []Unserved {
	return []Unserved{
		{"ipam", "use spec.ipFamilyPolicy and spec.ipFamilies"},
		{"poolSelectSecondary", "make a Service for each address"},
		{"secondaryIPs", "make a Service for each address"},
		{"zoneselect", "remove it; all load balancer nodes serve all Services"},
		{"zoneinstance", "remove it; all load balancer nodes serve all Services"},
		{"prefLocalPod", "use spec.externalTrafficPolicy: Local"},
		{"nodelabel", "label Nodes that shall get nothing node.kubernetes.io/exclude-from-external-load-balancers"},
		{"useExternalEndpoint", "use pods, or node ports, as backends"},
		{"multus-nets", "use the pod network (usepodnetwork)"},
		{"useproxyprotov2", "put a proxy that speaks it behind the Service"},
		{"egress", "keep the way out of pods to the cluster's network plugin"},
		{"mtls-frontend-mode", "end TLS in a proxy behind the Service"},
		{"mtls-frontend-secret", "end TLS in a proxy behind the Service"},
		{"mtls-frontend-require-cn", "end TLS in a proxy behind the Service"},
		{"mtls-frontend-cn-pattern", "end TLS in a proxy behind the Service"},
		{"mtls-backend-verify", "speak TLS to pods from a proxy behind the Service"},
		{"mtls-backend-ca-secret", "speak TLS to pods from a proxy behind the Service"},
		{"mtls-backend-client-secret", "speak TLS to pods from a proxy behind the Service"},
	}
}
