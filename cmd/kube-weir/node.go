package main

import (
	"context"
	"errors"
	"net/netip"

	"github.com/weir-lb/weir/api/client"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/push"
)

// dialer makes clients of nodes: over mutual TLS where there are certificates.
func (c config) dialer() func(push.Target) (push.Node, error) {
	scheme := "http://"
	if c.secure {
		scheme = "https://"
	}
	return func(t push.Target) (push.Node, error) {
		server := scheme + netip.AddrPortFrom(t.Address, t.APIPort).String()
		cl, err := client.New(client.Options{Node: t.Name, Server: server, TLS: c.tls, ServerName: c.serverName})
		if err != nil {
			return nil, err
		}
		return node{cl}, nil
	}
}

// node is a weir as push wants it.
type node struct{ *client.Client }

func (n node) PutState(ctx context.Context, owner string, s v1.NodeState) error {
	_, err := n.Client.PutState(ctx, owner, s)
	return known(err)
}

func (n node) PatchState(ctx context.Context, owner string, change v1.NodeChange) error {
	_, err := n.Client.PatchState(ctx, owner, change)
	return known(err)
}

// known turns the client's errors that push tells apart into push's.
func known(err error) error {
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case ok && e.Kind == client.Conflict && e.Current != nil:
		return &push.Conflict{Current: *e.Current}
	case ok && e.Kind == client.Refused && e.Path != "":
		return &push.Refused{Path: e.Path, Err: err}
	}
	return err
}

func (n node) OwnerStatus(ctx context.Context, owner string) (v1.OwnerStatus, error) {
	owners, err := n.Owners(ctx)
	if err != nil {
		return v1.OwnerStatus{}, err
	}
	for _, s := range owners {
		if s.Owner == owner {
			return s, nil
		}
	}
	return v1.OwnerStatus{Owner: owner}, nil
}
