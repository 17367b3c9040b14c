package main

import (
	"errors"
	"log/slog"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/bgp/fib"
	"github.com/weir-lb/weir/bgp/node"
	"github.com/weir-lb/weir/dataplane"
	"github.com/weir-lb/weir/dataplane/health"
	"github.com/weir-lb/weir/dataplane/overlay"
)

// cleanup removes what a weir has left that does not run any more: programs,
// maps, pins, learned routes, loosened filters, the desired state, verdicts on backends. A weir that runs is an error.
func cleanup(c config, log *slog.Logger) error {
	var file *agent.StateFile
	if c.stateDir != "" {
		var err error
		if file, err = agent.OpenStateFile(c.stateDir); err != nil {
			return err
		}
		defer file.Close()
	}
	if err := dataplane.Clean(c.pinDir); err != nil {
		return err
	}
	err := errors.Join(restoreFilters(c), clearRoutes(c))
	if file != nil {
		// The folder goes with its last file.
		err = errors.Join(err, health.NewFile(c.stateDir).Remove(), file.Remove())
	}
	if err == nil {
		log.Info("nothing of weir is left on this node")
	}
	return err
}

// restoreFilters undoes what a weir has loosened in the kernel's filters.
func restoreFilters(c config) error {
	if c.stateDir == "" {
		return nil
	}
	filters, err := overlay.NewLoosener(c.stateDir, nil)
	if err != nil {
		return err
	}
	return filters.Restore()
}

// clearRoutes removes the learned routes.
func clearRoutes(c config) error {
	ledger, err := openLedger(c)
	if err != nil {
		return err
	}
	kernel, err := fib.OpenNetlink()
	if err != nil {
		return err
	}
	return errors.Join(node.New(node.Options{Kernel: kernel, Ledger: ledger}).Clear(), kernel.Close())
}
