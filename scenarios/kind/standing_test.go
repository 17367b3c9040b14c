package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/kind/lab"
)

// standing is what a load balancer node has and tells others, less what time and traffic change.
type standing struct {
	Services []v1.ServiceStatus
	BGP      v1.BGPStatus
	Maps     map[string]map[string]string // rows of maps that Services are in
}

// ask has weirctl read what weir on a node knows, as JSON; the API server is not needed.
func ask(ctx context.Context, m lab.Machine, what string, answer any) error {
	out, err := m.Weir(ctx, "weirctl", "get", what, "-o", "json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		return fmt.Errorf("read weirctl get %s of %s: %w", what, m.Name, err)
	}
	return nil
}

// standings is how all is on both masters, and the routes that lead to them.
func standings(ctx context.Context) (map[string]any, error) {
	all := map[string]any{"routes": routes(ctx)}
	for _, m := range cluster.Masters {
		s := standing{Maps: map[string]map[string]string{}}
		if err := ask(ctx, m, "lb", &s.Services); err != nil {
			return nil, err
		}
		for _, service := range s.Services {
			for i := range service.BackendStates {
				b := &service.BackendStates[i]
				b.Flows, b.Packets, b.Bytes = 0, 0, 0
				if b.Probe != nil {
					b.Probe.Latency, b.Probe.Last = 0, time.Time{}
				}
			}
		}
		if err := ask(ctx, m, "neigh", &s.BGP); err != nil {
			return nil, err
		}
		for i := range s.BGP.Peers {
			s.BGP.Peers[i].Uptime = 0
		}
		for _, name := range []string{"vips", "services", "backend_addrs"} {
			rows, err := m.Rows(ctx, name)
			if err != nil {
				return nil, err
			}
			s.Maps[name] = rows
		}
		all[m.Name] = s
	}
	return all, nil
}

// haveServices expects that there is something on both masters that could be lost.
func haveServices(all map[string]any) {
	GinkgoHelper()
	for _, m := range cluster.Masters {
		Expect(all[m.Name]).To(And(
			HaveField("Services", And(HaveLen(4), HaveEach(HaveField("Programmed", true)))),
			HaveField("BGP.Peers", And(HaveLen(4), HaveEach(HaveField("State", "established")))),
			HaveField("BGP.Advertisements", Not(BeEmpty())),
			HaveField("Maps", And(HaveKeyWithValue("services", HaveLen(4)), HaveEach(Not(BeEmpty())))),
		), m.Name)
	}
}
