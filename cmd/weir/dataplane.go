package main

import (
	"log/slog"

	"github.com/weir-lb/weir/dataplane"
)

func openDataplane(c config, log *slog.Logger) (*dataplane.Dataplane, error) {
	d, err := dataplane.New(dataplane.Options{
		Hook:      c.hook,
		Blacklist: c.skip,
		Whitelist: c.only,
		MaxFlows:  c.maxFlows,
		PinDir:    c.pinDir,
		Health:    c.probes,

		EgressHooks: c.egrHooks,
	})
	if err != nil || c.stateDir == "" {
		return d, err
	}
	if err := d.KeepVerdicts(c.stateDir); err != nil {
		log.Warn("health of backends not restored", "error", err)
	}
	return d, nil
}
