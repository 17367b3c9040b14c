package main

import (
	"log/slog"

	"github.com/weir-lb/weir/dataplane/overlay"
)

// openFilters makes what keeps reverse path filters of overlay devices loose; nil
// where no pod of this node is an endpoint behind one, or the flag says so.
func openFilters(c config, log *slog.Logger) (*overlay.Loosener, error) {
	if !c.looseRPFilter || !c.peer && !c.egrHooks {
		return nil, nil
	}
	return overlay.NewLoosener(c.stateDir, func(change overlay.Change) {
		attrs := []any{"interface", change.Device, "own", change.Was.Own, "all", change.Was.All}
		if change.Err != nil {
			log.Warn("rp_filter is strict and cannot be loosened, endpoints behind this interface will not answer; set it to 2 by sysctl",
				append(attrs, "error", change.Err)...)
			return
		}
		log.Info("rp_filter loosened, or requests for pods behind this interface would be lost; --loose-rp-filter=false leaves it",
			append(attrs, "now", 2)...)
		if change.Unnoted != nil {
			log.Warn("a weir that starts later will not restore rp_filter unless there is room for its note", "interface", change.Device, "error", change.Unnoted)
		}
	})
}
