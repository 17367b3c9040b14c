package main

import (
	"errors"
	"log/slog"

	"github.com/weir-lb/weir/agent"
)

func features() error { return errors.New("this build has no dataplane yet; use --peer") }

func openDataplane(config, *slog.Logger) (agent.Dataplane, error) { return nil, features() }
