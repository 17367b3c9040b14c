package decide

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// Bounds of the condition Programmed, whatever nodes say.
const (
	maxProgrammedMessage = 512 // bytes
	maxNamedNodes        = 5   // with one fault
)

// Programmed returns the services with, for each that is served, the condition
// of that name: what all load balancer nodes said last of its frontends. It
// holds where all do, and does not where one has a fault, with the gravest
// reason. It is unknown while a node that answers was not told of the service,
// or none has answered; a node that has just joined is not waited for.
func (d Decision) Programmed(reports []controller.NodeReport) []v1.ControllerService {
	answered := slices.ContainsFunc(reports, func(r controller.NodeReport) bool { return r.Answered })
	told := make([]map[v1.Frontend]bool, len(reports))
	for i, r := range reports {
		told[i] = make(map[v1.Frontend]bool, len(r.Services))
		for _, s := range r.Services {
			told[i][s.Frontend] = true
		}
	}
	out := slices.Clone(d.Services)
	for i, s := range out {
		frontends, served := d.Frontends[s.Namespace+"/"+s.Name]
		if !served {
			continue
		}
		var faults []nodeFault
		waits := !answered
		for j, r := range reports {
			f, faulty := faultOn(r, frontends)
			switch {
			case faulty:
				faults = append(faults, f)
			case r.Answered && !containsAll(told[j], frontends):
				waits = true
			}
		}
		out[i].Conditions = append(slices.Clip(s.Conditions), programmed(len(reports), waits, faults))
	}
	return out
}

func containsAll(set map[v1.Frontend]bool, keys []v1.Frontend) bool {
	return !slices.ContainsFunc(keys, func(f v1.Frontend) bool { return !set[f] })
}

// nodeFault is what one node says of one service.
type nodeFault struct {
	node      string
	condition v1.Condition
}

// unreachableType ranks a node that does not answer among the conditions' types.
const unreachableType = "Node"

// gravest are the types of faults' conditions, the gravest first.
var gravest = []string{v1.ConditionAccepted, v1.ConditionProgrammed, unreachableType, v1.ConditionReachable, v1.ConditionNodeTraffic}

func (f nodeFault) rank() int {
	if i := slices.Index(gravest, f.condition.Type); i >= 0 {
		return i
	}
	return len(gravest)
}

// faultOn is the first fault of a service on a node, by frontend.
func faultOn(r controller.NodeReport, frontends []v1.Frontend) (nodeFault, bool) {
	if r.Lost != "" {
		return nodeFault{r.Node, v1.Condition{
			Type: unreachableType, Reason: ReasonNodeUnreachable, Message: "nothing heard for a while: " + r.Lost,
		}}, true
	}
	for _, f := range frontends {
		if c, faulty := r.Faults[f]; faulty {
			return nodeFault{r.Node, c}, true
		}
	}
	return nodeFault{}, false
}

// programmed folds what nodes say of one service.
func programmed(nodes int, waits bool, faults []nodeFault) v1.Condition {
	c := v1.Condition{Type: v1.ConditionProgrammed}
	switch {
	case nodes == 0:
		c.Reason, c.Message = ReasonNoNode, "no node runs weir as load balancer; see the pods behind the Service weir-lb (or loxilb-lb-service) in the controller's namespace or kube-system"
	case len(faults) > 0:
		c.Reason, c.Message = describe(faults)
	case waits:
		c.Unknown, c.Reason, c.Message = true, ReasonPending, "load balancer nodes have not said yet whether they serve it"
	default:
		c.Status, c.Reason, c.Message = true, ReasonProgrammed, "every load balancer node serves it"
	}
	return c
}

// describe names the gravest reason, and the nodes with what they say, those of
// one fault together.
func describe(faults []nodeFault) (reason, message string) {
	slices.SortStableFunc(faults, func(a, b nodeFault) int { return cmp.Compare(a.rank(), b.rank()) })
	var texts []string
	nodes := map[string][]string{}
	for _, f := range faults {
		text := oneLine(f.condition.Message)
		if nodes[text] == nil {
			texts = append(texts, text)
		}
		nodes[text] = append(nodes[text], f.node)
	}
	for i, text := range texts {
		texts[i] = nameSome(nodes[text]) + ": " + text
	}
	return safeReason(faults[0].condition.Reason), shorten(strings.Join(texts, "; "), maxProgrammedMessage)
}

// nameSome lists nodes, the rest as a number.
func nameSome(nodes []string) string {
	if more := len(nodes) - maxNamedNodes; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(nodes[:maxNamedNodes], ", "), more)
	}
	return strings.Join(nodes, ", ")
}

// reasonForm is what an apiserver takes for a condition's reason: one that is
// otherwise would keep the whole status from being written.
var reasonForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,126}$`)

func safeReason(reason string) string {
	if !reasonForm.MatchString(reason) {
		return ReasonNotProgrammed
	}
	return reason
}

// oneLine makes what others say fit for a table and a log.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)), " ")
}

// shorten cuts at the bound, between runes.
func shorten(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return strings.ToValidUTF8(text[:bytes-len("...")], "") + "..."
}
