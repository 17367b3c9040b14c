package decide

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Annotations are read with LoxiLB's prefix and with weir's own, which wins
// where both are there.
const (
	prefixLoxiLB = "loxilb.io/"
	prefixWeir   = "weir-lb.io/"
)

// The annotations as messages name them.
const (
	annotationPodNetwork = prefixLoxiLB + "usepodnetwork"
	annotationLiveness   = prefixLoxiLB + "liveness"
)

// AnnotationServed is written by the controller, beside its finalizer, to the
// Services that it serves (controller/k8s).
const AnnotationServed = prefixWeir + "served"

// settings is what annotations, or flags for want of them, say of a service.
type settings struct {
	mode       v1.Mode
	algorithm  v1.Algorithm
	monitor    bool
	probe      probe
	withdraw   bool
	podNetwork bool
	pool       string
	// staticIP is an annotation's value, and staticIPKey its name as the Service
	// has it.
	staticIP, staticIPKey string
	// idleTimeout in seconds, zero for that of the protocol.
	idleTimeout uint32
	// affinity in seconds, zero for none. sources may come in, all if none.
	affinity uint32
	sources  []netip.Prefix
	// ignored are annotations that change nothing here, as they are written.
	ignored []string
}

func readAnnotations(annotations map[string]string, cfg controller.Config) (settings, *refusal) {
	s := settings{mode: cfg.Mode, algorithm: v1.RoundRobin, monitor: cfg.Monitor, podNetwork: cfg.UsePodNetwork, withdraw: cfg.Withdraw}
	if s.mode == "" {
		s.mode = v1.ModeDefault
	}
	own, all := map[string]bool{}, map[string]string{}
	for key, value := range annotations {
		if name, ok := strings.CutPrefix(key, prefixWeir); ok && key != AnnotationServed {
			own[name], all[name] = true, value
		}
	}
	for key, value := range annotations {
		if name, ok := strings.CutPrefix(key, prefixLoxiLB); ok && !own[name] {
			all[name] = value
		}
	}
	// In order, so that of two mistakes the same one is always named.
	for _, name := range slices.Sorted(maps.Keys(all)) {
		prefix := prefixLoxiLB
		if own[name] {
			prefix = prefixWeir
		}
		if bad := s.apply(prefix+name, name, all[name]); bad != nil {
			return settings{}, bad
		}
	}
	return s, nil
}

// apply reads one annotation.
func (s *settings) apply(key, name, value string) *refusal {
	for _, a := range annotationTable {
		if a.Name == name {
			return a.read(s, key, value)
		}
	}
	s.ignored = append(s.ignored, key)
	return nil
}

func (s *settings) readSelection(key, value string) {
	switch value {
	case "rr", "roundrobin":
		s.algorithm = v1.RoundRobin
	case "hash":
		s.algorithm = v1.Hash
	case "persist":
		s.affinity = uint32(corev1.DefaultClientIPServiceAffinitySeconds) // LoxiLB's, too
	default:
		s.ignored = append(s.ignored, key+"="+value)
	}
}

// completeProbe settles what becomes of the probe annotations.
func (s *settings) completeProbe(ports []port) {
	s.probe.complete(ports)
	if len(s.probe.keys) > 0 && !s.monitor && len(s.probe.faults) == 0 && !s.probe.off {
		keys := slices.Sorted(maps.Values(s.probe.keys))
		s.ignored = append(s.ignored, strings.Join(keys, " and ")+" without "+annotationLiveness+": yes")
	}
	s.monitor = s.monitor && !s.probe.off
	if !s.monitor {
		s.probe.spec = v1.ProbeSpec{}
	}
}

func readMode(key, value string) (v1.Mode, *refusal) {
	switch m := v1.Mode(value); m {
	case v1.ModeDefault, v1.ModeOneArm, v1.ModeFullNAT:
		return m, nil
	}
	switch value {
	case "dsr", "fullproxy", "hostonearm":
		return "", refuse(ReasonUnknownMode, "%s: mode %s is not served; use default, onearm or fullnat", key, value)
	}
	return "", refuse(ReasonUnknownMode, "%s: unknown mode %q; use default, onearm or fullnat", key, value)
}

// readTimeout reads seconds, as LoxiLB has them, or a duration with its unit.
func readTimeout(key, value string) (uint32, *refusal) {
	text := value
	if _, err := strconv.ParseUint(value, 10, 64); err == nil {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > v1.MaxIdleTimeout*time.Second || d%time.Second != 0 {
		return 0, refuse(ReasonInvalidAnnotation, "%s: %q is no time-out; use whole seconds, 1 to %d, or a duration such as 30m",
			key, value, v1.MaxIdleTimeout)
	}
	return uint32(d / time.Second), nil
}

func readYesNo(key, value string) (bool, *refusal) {
	switch value {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, refuse(ReasonInvalidAnnotation, "%s: %q is neither yes nor no", key, value)
}
