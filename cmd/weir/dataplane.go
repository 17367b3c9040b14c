package main

import (
	"log/slog"

	"github.com/weir-lb/weir/dataplane"
)

func openDataplane(c config, log *slog.Logger) (*dataplane.Dataplane, error) {
	if c.egrHooks {
		log.Warn("--egr-hooks has no effect in this version: only forwarded traffic is served, not what starts or ends on this node")
	}
	return dataplane.New(dataplane.Options{
		Hook:      c.hook,
		Blacklist: c.skip,
		Whitelist: c.only,
		MaxFlows:  c.maxFlows,
		PinDir:    c.pinDir,
	})
}
