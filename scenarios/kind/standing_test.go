package kind

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/scenarios/kind/lab"
)

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

// standing is what the masters have and tell others, and the routes to them, a line for each thing, less what time and
// traffic change.
func standing(ctx context.Context) ([]string, error) {
	var all []string
	for on, route := range routes(ctx) {
		all = append(all, on+" route "+route)
	}
	for _, m := range cluster.Masters {
		note := func(kind string, what any) {
			line, err := json.Marshal(what)
			Expect(err).NotTo(HaveOccurred())
			all = append(all, fmt.Sprintf("%s %s %s", m.Name, kind, line))
		}
		var services []v1.ServiceStatus
		if err := ask(ctx, m, "lb", &services); err != nil {
			return nil, err
		}
		for _, s := range services {
			for i := range s.BackendStates {
				b := &s.BackendStates[i]
				b.Flows, b.Packets, b.Bytes = 0, 0, 0
				if b.Probe != nil {
					b.Probe.Latency, b.Probe.Last = 0, time.Time{}
				}
			}
			note("service", s)
		}
		var bgp v1.BGPStatus
		if err := ask(ctx, m, "neigh", &bgp); err != nil {
			return nil, err
		}
		for _, p := range bgp.Peers {
			p.Uptime = 0
			note("peer", p)
		}
		for _, a := range bgp.Advertisements {
			note("advertisement", a)
		}
		note("learned", bgp.Routes)
		for _, name := range []string{"vips", "services", "backend_addrs"} {
			rows, err := m.Rows(ctx, name)
			if err != nil {
				return nil, err
			}
			for key, value := range rows {
				gone := name == "vips" && rests(value) || name == "backend_addrs" && !serves(services, key)
				if !gone {
					note("row of "+name, key+" "+value)
				}
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

// rests says whether the value of a row of vips, in hexadecimal digits, has VIP_RETIRED (bpf/lib/types.h): such a row goes
// when no flow needs it, with or without an API server.
func rests(value string) bool { return strings.HasPrefix(value, "02") }

// serves says whether the address that a row of backend_addrs is of, in hexadecimal digits, stands behind a service. Rows of
// those that no longer do go when no flow needs them, with or without an API server.
func serves(services []v1.ServiceStatus, row string) bool {
	for _, s := range services {
		for _, b := range s.Backends {
			if hex.EncodeToString(b.Address.AsSlice()) == row {
				return true
			}
		}
	}
	return false
}

// settled waits until nothing has changed for a while and returns how all is then: what a spec before has changed may
// still be on its way.
func settled(ctx context.Context) []string {
	GinkgoHelper()
	var last []string
	var since time.Time
	soon(ctx, func(ctx context.Context) (time.Duration, error) {
		now, err := standing(ctx)
		if err != nil {
			return 0, err
		}
		if !slices.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since), nil
	}).Should(BeNumerically(">=", quiet))
	return last
}

// changed are the lines that are there now and were not before, and those that are gone.
func changed(before []string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) (lines []string, err error) {
		now, err := standing(ctx)
		if err != nil {
			return nil, err
		}
		for _, line := range now {
			if !slices.Contains(before, line) {
				lines = append(lines, "now "+line)
			}
		}
		for _, line := range before {
			if !slices.Contains(now, line) {
				lines = append(lines, "gone "+line)
			}
		}
		return lines, nil
	}
}

// haveServices expects that there is something on both masters that could be lost.
func haveServices(all []string) {
	GinkgoHelper()
	for _, m := range cluster.Masters {
		count := func(kind, what string) (n int) {
			for _, line := range all {
				if strings.HasPrefix(line, m.Name+" "+kind+" ") && strings.Contains(line, what) {
					n++
				}
			}
			return n
		}
		Expect(count("service", `"programmed":true`)).To(Equal(4), m.Name)
		Expect(count("peer", `"state":"established"`)).To(Equal(4), m.Name)
		Expect(count("advertisement", "")).To(BeNumerically(">", 0), m.Name)
		Expect(count("row of services", "")).To(Equal(4), m.Name)
		Expect(count("row of vips", "")).To(BeNumerically(">", 0), m.Name)
		Expect(count("row of backend_addrs", "")).To(BeNumerically(">", 0), m.Name)
	}
}
