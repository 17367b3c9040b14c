package dataplane

import (
	"time"

	"github.com/weir-lb/weir/dataplane/health"
)

// KeepVerdicts takes over which backends were down when an earlier run ended,
// and keeps what this one finds, in a folder that exists. Call it between New
// and the first Apply. The error says why the old verdicts are lost; new ones
// are kept all the same.
func (d *Dataplane) KeepVerdicts(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.verdicts = health.NewFile(folder)
	return d.verdicts.Restore(d.health, time.Now())
}

// keepVerdicts writes them. One that fails is tried again with the next sweep;
// what a full disk costs the node is told of its state file, which is beside.
func (d *Dataplane) keepVerdicts() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.verdicts != nil && !d.closed {
		_ = d.verdicts.Save(d.health, time.Now())
	}
}
