package k8s

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/decide"
)

const restartTime = 30 * time.Second

// TestReplacedPodIsARestart plays what the apiserver tells while pods come and go, and has the decision say who runs weir:
// "1" is ready there, "1?" is not. A tenant says all the time that 7 does.
func TestReplacedPodIsARestart(t *testing.T) {
	type moment struct {
		after time.Duration
		pods  string // in EndpointSlices
		gone  string // Nodes that are no more
		want  string
	}
	for _, row := range []struct {
		says    string
		lastLBs []string
		moments []moment
	}{
		{"a pod is replaced", nil, []moment{
			{0, "1 2", "", "1 2"},
			{time.Second, "1? 2", "", "1 2"},
			{time.Second, "2", "", "1 2"},
			{10 * time.Second, "1? 2", "", "1 2"},
			{time.Second, "1 2", "", "1 2"},
			{time.Hour, "1? 2", "", "1 2"}, // nothing happened meanwhile
			{restartTime, "1? 2", "", "1? 2"},
		}},
		{"one that does not come back", nil, []moment{
			{0, "1 2", "", "1 2"},
			{time.Second, "2", "", "1 2"},
			{restartTime - time.Second, "2", "", "1 2"},
			{time.Second, "2", "", "2"},
		}},
		{"a node is removed with its pod", nil, []moment{
			{0, "1 2", "", "1 2"},
			{time.Second, "2", "1", "2"},
			{time.Second, "2", "", "2"},
		}},
		{"a node is removed, and its pod is noticed to be gone long after", nil, []moment{
			{0, "1 2", "", "1 2"},
			{time.Second, "1 2", "1", "2"},
			{time.Minute, "2", "1", "2"},
		}},
		{"a node is removed by mistake", nil, []moment{
			{0, "1 2", "", "1 2"},
			{time.Second, "1 2", "1", "2"},
			{time.Second, "1 2", "", "1 2"},
			{time.Second, "2", "", "1 2"},
		}},
		{"one that was never ready", nil, []moment{{0, "1? 2", "", "1? 2"}, {time.Second, "2", "", "2"}}},
		{"controller and pod are replaced at once", []string{"192.0.2.1", "192.0.2.2", "192.0.2.7"}, []moment{
			{0, "2", "7", "1 2"},
			{time.Second, "1 2", "7", "1 2"},
			{time.Second, "1", "7", "1 2"},
			{restartTime, "1", "7", "1"},
		}},
	} {
		t.Run(row.says, func(t *testing.T) {
			s, now := newSteady(restartTime, "kube-system", "weir-system"), time.Unix(1000, 0)
			var last []netip.Addr
			for _, a := range row.lastLBs {
				last = append(last, netip.MustParseAddr(a))
			}
			for i, m := range row.moments {
				now = now.Add(m.after)
				snap := controller.Snapshot{Slices: append(weirPods("tenant", "7"), weirPods("kube-system", m.pods)...), Nodes: machines(m.gone)}
				if i == 0 {
					s.remember(last, snap.Nodes, now)
				}
				again := s.hold(&snap, now)
				var got []string
				for _, n := range decide.Decide(snap, controller.Config{Namespaces: s.namespaces}, controller.Memory{}).Nodes {
					name := n.Name
					if !n.Ready {
						name += "?"
					}
					got = append(got, name)
				}
				if fmt.Sprint(got) != fmt.Sprint(strings.Fields(m.want)) {
					t.Errorf("moment %d: %v run weir, want %s", i, got, m.want)
				}
				held := slices.ContainsFunc(got, func(pod string) bool { return !slices.Contains(strings.Fields(m.pods), pod) })
				if held != (again > 0) {
					t.Errorf("moment %d: asks to be asked again in %s", i, again)
				}
			}
		})
	}
}

// machines are Nodes 1, 2 and 7 but one.
func machines(gone string) []*corev1.Node {
	var out []*corev1.Node
	for _, name := range []string{"1", "2", "7"} {
		if name != gone {
			out = append(out, &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2." + name}}},
			})
		}
	}
	return out
}

func weirPods(namespace, pods string) []*discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: "loxilb-lb-service"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, pod := range strings.Fields(pods) {
		name, ready := pod[:1], len(pod) == 1
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{"192.0.2." + name}, NodeName: &name, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		})
	}
	return []*discoveryv1.EndpointSlice{slice}
}
