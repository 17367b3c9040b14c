package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
)

// RIBPath is one path of a node's RIB, as gobgp tells it.
type RIBPath struct {
	NextHop   netip.Addr // 0.0.0.0 for the node's own
	Best      bool
	LocalPref int
	MED       int
}

// Path attributes (RFC 4271, section 5.1).
const (
	attrNextHop   = 3
	attrMED       = 4
	attrLocalPref = 5
)

// RIB has the paths to every prefix that the node's speaker knows, the best
// one first.
func (l *Lab) RIB(ctx context.Context, node string) (map[string][]RIBPath, error) {
	out, err := l.Node(node).Run(ctx, "gobgp", "--json", "global", "rib")
	if err != nil {
		return nil, err
	}
	var table map[string][]struct {
		Best  bool
		Attrs []struct {
			Type    int
			NextHop netip.Addr
			Metric  int
			Value   int
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, fmt.Errorf("read RIB of %s: %w", node, err)
	}
	rib := map[string][]RIBPath{}
	for prefix, paths := range table {
		for _, p := range paths {
			path := RIBPath{Best: p.Best}
			for _, a := range p.Attrs {
				switch a.Type {
				case attrNextHop:
					path.NextHop = a.NextHop
				case attrMED:
					path.MED = a.Metric
				case attrLocalPref:
					path.LocalPref = a.Value
				}
			}
			rib[prefix] = append(rib[prefix], path)
		}
	}
	return rib, nil
}
