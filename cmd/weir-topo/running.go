package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weir-lb/weir/topo"
)

// open opens the topology that --name says, or the only one that is up.
func (g *globalFlags) open() (*topo.Topology, error) {
	id, err := g.pick(g.name)
	if err != nil {
		return nil, err
	}
	return topo.Open(g.root, id)
}

// pick returns id, or that of the only topology that is up.
func (g *globalFlags) pick(id string) (string, error) {
	if id != "" {
		return id, nil
	}
	all, err := topo.List(g.root)
	if err != nil {
		return "", err
	}
	var up []string
	for _, s := range all {
		if s.State != topo.StateStale {
			up = append(up, s.ID)
		}
	}
	switch len(up) {
	case 0:
		return "", errors.New("no topology is up; `weir-topo up article` builds one")
	case 1:
		return up[0], nil
	}
	return "", usageError{fmt.Errorf("%d topologies are up: %s; choose one with --name", len(up), strings.Join(up, ", "))}
}
