package main

import (
	"context"
	"os"
	"slices"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// rereadPasswords is how often the file of passwords is looked at: a mounted
// Secret changes by a link that is exchanged, which few ways of watching see.
const rereadPasswords = time.Second

// reasonPasswordFile is of the problem that a file which cannot be read is.
const reasonPasswordFile = "PasswordFileInvalid"

// followPasswords has every change of the file reach the nodes, until ctx ends.
// Only the sessions whose password changed begin anew. While the file cannot be
// read, or is wrong, the passwords stay, and a problem says so.
func followPasswords(ctx context.Context, c config, every time.Duration, configure func(*controller.Config, []v1.Problem)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var file settling
	for {
		if next := readOutcome(c.passwords); file.look(next) {
			configure(next.apply(c))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// settling tells news from a file that somebody is writing: what is read twice in a
// row is news. What is read first is, too.
type settling struct {
	told, seen outcome
	begun      bool
}

// look says whether what was read now must be told.
func (s *settling) look(now outcome) bool {
	news := now != s.told && (!s.begun || now == s.seen)
	s.seen, s.begun = now, true
	if news {
		s.told = now
	}
	return news
}

// outcome is what looking at the file came to.
type outcome struct{ text, failure string }

func readOutcome(file string) outcome {
	text, err := os.ReadFile(file)
	if err != nil {
		return outcome{failure: err.Error()}
	}
	return outcome{text: string(text)}
}

// apply is the configuration with the passwords of the file, or a problem.
func (o outcome) apply(c config) (*controller.Config, []v1.Problem) {
	bgp := *c.controller.BGP
	bgp.External = slices.Clone(bgp.External)
	if o.failure == "" {
		if err := assignPasswords(bgp.External, c.passwords, o.text); err != nil {
			o.failure = err.Error()
		}
	}
	if o.failure != "" {
		return nil, []v1.Problem{{Object: c.passwords, Reason: reasonPasswordFile, Message: o.failure + "; the passwords stay as they were"}}
	}
	config := c.controller
	config.BGP = &bgp
	return &config, nil
}
