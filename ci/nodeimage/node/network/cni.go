package main

import (
	"encoding/json"
	"net/netip"
	"os"
)

// folder is where containerd looks for the CNI configuration; kind's own has the same name.
const (
	folder = "/etc/cni/net.d/"
	file   = "10-kindnet.conflist"
)

type object = map[string]any

// configuration gives every pod a point-to-point link to the node and an address of each of the ranges.
func configuration(ranges []netip.Prefix) ([]byte, error) {
	var pools [][]object
	var routes []object
	for _, r := range ranges {
		pools = append(pools, []object{{"subnet": r.String()}})
		everywhere := "0.0.0.0/0"
		if r.Addr().Is6() {
			everywhere = "::/0"
		}
		routes = append(routes, object{"dst": everywhere})
	}
	return json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "kindnet",
		"plugins": []object{
			{"type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": object{
				"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": routes, "ranges": pools,
			}},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}

// writeConfiguration replaces the file at once: containerd reads it when it appears.
func writeConfiguration(ranges []netip.Prefix) error {
	b, err := configuration(ranges)
	if err != nil {
		return err
	}
	if err := os.WriteFile(folder+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(folder+".new", folder+file)
}
