package interop

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/weir-lb/weir/scenarios/article/lab"
	"github.com/weir-lb/weir/topo/spec"
)

// configs are the daemons' configurations: templates, as files of a page are.
//
//go:embed testdata/*.conf testdata/*.toml
var configs embed.FS

// config is one of configs. It is part of the program, so it is there.
func config(name string) string {
	text, err := configs.ReadFile("testdata/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// frrOptions keep a daemon of FRR in the node: its files are in the node's
// folder, only root may enter that, and there is no TCP port for commands. The
// group is the one that FRR insists on.
const frrOptions = ` -i {{.State}}/%[1]s.run -f {{.State}}/%[1]s.conf -z {{.State}}/zserv.api --vty_socket {{.State}} -P 0 -u root -g frrvty`

// zebra is FRR's daemon for the kernel's routes.
func zebra() spec.Process {
	return spec.Process{
		Name: "zebra", Command: "/usr/lib/frr/zebra" + fmt.Sprintf(frrOptions, "zebra"),
		Ready: &spec.Ready{Socket: "{{.State}}/zserv.api"},
	}
}

// bgpd is FRR's daemon for BGP, which needs zebra.
func bgpd() spec.Process {
	return spec.Process{
		Name: "bgpd", Order: 1, Command: "/usr/lib/frr/bgpd" + fmt.Sprintf(frrOptions, "bgpd"),
		Ready: &spec.Ready{Socket: "{{.State}}/bgpd.vty"},
	}
}

// gobgpd is Debian's GoBGP 3. It leaves the kernel's routes to zebra, and falls
// over Debian's zebra 8.4, whose messages it cannot read: who runs both runs
// something of their own between RIB and kernel, as routeByRIB.
func gobgpd() spec.Process {
	return spec.Process{
		Name:    "gobgpd",
		Command: "/usr/bin/gobgpd -t toml -f {{.State}}/gobgpd.toml --api-hosts 127.0.0.1:50051 --pprof-disable",
		Ready:   &spec.Ready{TCP: "127.0.0.1:50051"},
	}
}

// vtysh asks a node's FRR.
func vtysh(ctx context.Context, l *lab.Lab, node, command string) (string, error) {
	n := l.Node(node)
	return n.Run(ctx, "vtysh", "--vty_socket", n.Dir(), "-c", command)
}

// frrSign gives the sessions of the client's FRR a password.
func frrSign(ctx context.Context, l *lab.Lab, password string) error {
	command := "neighbor %s password " + password
	if password == "" {
		command = "no neighbor %s password"
	}
	n := l.Node("client")
	_, err := n.Run(ctx, "vtysh", "--vty_socket", n.Dir(), "-c", "configure terminal", "-c", "router bgp 65101",
		"-c", fmt.Sprintf(command, lab.Master1), "-c", fmt.Sprintf(command, lab.Master2))
	return err
}

// frrPaths are the ways to the VIP that FRR knows on the client.
func frrPaths(ctx context.Context, l *lab.Lab) ([]lab.Path, error) {
	out, err := vtysh(ctx, l, "client", "show bgp ipv4 unicast "+lab.VIP.String()+"/32 json")
	if err != nil {
		return nil, err
	}
	var table struct {
		Paths []struct {
			ASPath struct {
				Segments []struct{ List []int }
			}
			Metric   int
			BestPath struct{ Overall bool }
			NextHops []struct{ IP netip.Addr }
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, fmt.Errorf("read FRR's paths: %w", err)
	}
	var paths []lab.Path
	for _, p := range table.Paths {
		path := lab.Path{Best: p.BestPath.Overall, MED: p.Metric}
		for _, s := range p.ASPath.Segments {
			path.ASPath = append(path.ASPath, s.List...)
		}
		for _, h := range p.NextHops {
			path.Via = h.IP
		}
		paths = append(paths, path)
	}
	return bestFirst(paths), nil
}

// gobgpdSign gives the sessions of the client's gobgpd a password: it takes a new
// one at its start only.
func gobgpdSign(ctx context.Context, l *lab.Lab, password string) error {
	n := l.Node("client")
	file := filepath.Join(n.Dir(), "gobgpd.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text = authPassword.ReplaceAll(text, []byte(`auth-password = "`+password+`"`))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	if err := n.Process("gobgpd").Stop(ctx); err != nil {
		return err
	}
	return n.Process("gobgpd").Start(ctx)
}

var authPassword = regexp.MustCompile(`auth-password = ".*"`)

// gobgpdPaths are the ways to the VIP that Debian's gobgpd knows on the client.
// weir's own gobgp, which comes first in a node's PATH, speaks another API.
func gobgpdPaths(ctx context.Context, l *lab.Lab) ([]lab.Path, error) {
	out, err := l.Node("client").Run(ctx, "/usr/bin/gobgp", "--json", "global", "rib")
	if err != nil {
		return nil, err
	}
	var table map[string][]struct {
		Best  bool
		Attrs []struct {
			NextHop netip.Addr
			Metric  int
			ASPaths []struct{ ASNs []int } `json:"as_paths"`
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, fmt.Errorf("read gobgpd's paths: %w", err)
	}
	var paths []lab.Path
	for _, p := range table[lab.VIP.String()+"/32"] {
		path := lab.Path{Best: p.Best}
		for _, a := range p.Attrs {
			if a.NextHop.IsValid() {
				path.Via = a.NextHop
			}
			path.MED = max(path.MED, a.Metric)
			for _, s := range a.ASPaths {
				path.ASPath = append(path.ASPath, s.ASNs...)
			}
		}
		paths = append(paths, path)
	}
	return bestFirst(paths), nil
}

// bestFirst puts the best path in front: FRR tells them as they came.
func bestFirst(paths []lab.Path) []lab.Path {
	slices.SortStableFunc(paths, func(a, b lab.Path) int {
		switch {
		case a.Best == b.Best:
			return 0
		case a.Best:
			return -1
		}
		return 1
	})
	return paths
}

// routeByRIB does what zebra would do for Debian's gobgpd: the best path to the
// VIP becomes the client's route.
func routeByRIB(ctx context.Context, l *lab.Lab) error {
	paths, err := gobgpdPaths(ctx, l)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if p.Best {
			_, err := l.Node("client").Run(ctx, "ip", "route", "replace", lab.VIP.String(), "via", p.Via.String())
			return err
		}
	}
	_, err = l.Node("client").Run(ctx, "ip", "route", "flush", lab.VIP.String())
	return err
}
