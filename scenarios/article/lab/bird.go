package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Path is one way to the VIP that BIRD knows on the client.
type Path struct {
	Via  netip.Addr
	Best bool
	// Attributes as they arrived. LOCAL_PREF is BIRD's own: none crosses an AS.
	ASPath []int
	MED    int
}

// Paths are the ways to the VIP that BIRD knows on the client, the best one
// first; none without the prefix.
func (l *Lab) Paths(ctx context.Context) ([]Path, error) {
	n := l.Node("client")
	out, err := n.Run(ctx, "birdc", "-s", filepath.Join(n.Dir(), "bird.ctl"),
		"show", "route", "all", "where", "net", "=", VIP.String()+"/32") // "for" fails where there is none
	if err != nil {
		return nil, err
	}
	return parsePaths(out)
}

var (
	routeLine = regexp.MustCompile(`\bunicast \[\S+ \S+(?: from \S+)?\]( \*)? \(`)
	attribute = regexp.MustCompile(`^\s+(via|BGP\.as_path:|BGP\.med:) (.*)$`)
)

// parsePaths reads what birdc prints: a line for each path and indented ones
// for its next hop and attributes.
func parsePaths(out string) ([]Path, error) {
	var paths []Path
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if m := routeLine.FindStringSubmatch(line); m != nil {
			paths = append(paths, Path{Best: m[1] != ""})
			continue
		}
		m := attribute.FindStringSubmatch(line)
		if m == nil || len(paths) == 0 {
			continue
		}
		if err := paths[len(paths)-1].set(m[1], strings.Fields(m[2])); err != nil {
			return nil, fmt.Errorf("read birdc's %q: %w", line, err)
		}
	}
	return paths, nil
}

func (p *Path) set(name string, values []string) error {
	if len(values) == 0 {
		return fmt.Errorf("%s has no value", name)
	}
	var err error
	switch name {
	case "via":
		p.Via, err = netip.ParseAddr(values[0])
	case "BGP.med:":
		p.MED, err = strconv.Atoi(values[0])
	case "BGP.as_path:":
		for _, v := range values {
			as, e := strconv.Atoi(v)
			if e != nil {
				return e
			}
			p.ASPath = append(p.ASPath, as)
		}
	}
	return err
}
