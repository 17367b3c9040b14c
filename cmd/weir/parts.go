package main

import (
	"errors"
	"log/slog"

	"github.com/weir-lb/weir/agent"
)

// parts are what the agent drives. Either is nil where the flags leave it out.
type parts struct {
	dataplane agent.Dataplane
	speaker   agent.Speaker
}

// open makes the parts that the flags ask for.
func open(c config, log *slog.Logger) (parts, error) {
	var p parts
	if !c.peer {
		d, err := openDataplane(c, log)
		if err != nil {
			return parts{}, err
		}
		p.dataplane = d
	}
	if c.bgp {
		s, err := openSpeaker(c, log)
		if err != nil {
			return parts{}, errors.Join(err, p.close())
		}
		p.speaker = s
	}
	return p, nil
}

// close ends the speaker first: no peer may send here once nothing forwards.
func (p parts) close() error {
	var errs []error
	if p.speaker != nil {
		errs = append(errs, p.speaker.Close())
	}
	if p.dataplane != nil {
		errs = append(errs, p.dataplane.Close())
	}
	return errors.Join(errs...)
}
