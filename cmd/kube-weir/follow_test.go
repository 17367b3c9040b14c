package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

func TestPasswordsAreFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	write := func(text string) {
		t.Helper()
		// In one step, as a Secret changes.
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	c := config{passwords: file, controller: controller.Config{BGP: &controller.BGP{External: []controller.ExternalPeer{
		{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101}, {Address: netip.MustParseAddr("192.168.80.2"), ASN: 65102},
	}}}}
	type said struct {
		passwords [2]v1.Password
		problem   string
	}
	heard := make(chan said, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	write("192.168.80.1 one\n192.168.80.2 two\n")
	go func() {
		defer close(done)
		followPasswords(ctx, c, time.Millisecond, func(config *controller.Config, problems []v1.Problem) {
			var s said
			if config != nil {
				s.passwords = [2]v1.Password{config.BGP.External[0].Password, config.BGP.External[1].Password}
			}
			for _, p := range problems {
				s.problem += p.Message
			}
			heard <- s
		})
	}()
	defer func() { cancel(); <-done }()
	expect := func(passwords [2]v1.Password, problem string) {
		t.Helper()
		select {
		case s := <-heard:
			if s.passwords != passwords || !strings.Contains(s.problem, problem) || (problem == "") != (s.problem == "") || strings.Contains(s.problem, "three") {
				t.Errorf("got %v and %q, want %v and %q", s.passwords == passwords, s.problem, true, problem)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was said")
		}
	}
	expect([2]v1.Password{"one", "two"}, "")
	write("192.168.80.1 one\n192.168.80.2 three\n")
	expect([2]v1.Password{"one", "three"}, "")
	write("192.168.80.1 one\nthree\n")
	expect([2]v1.Password{}, "line 2: no blank in it; write IP PASSWORD; the passwords stay as they were")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect([2]v1.Password{}, "no such file")
	write("192.168.80.1 four\n")
	expect([2]v1.Password{"four", ""}, "")
	if len(heard) > 0 {
		t.Errorf("said more than changed: %+v", <-heard)
	}
	if c.controller.BGP.External[0].Password != "" {
		t.Error("the configuration of the start was changed")
	}
}

// A file that is cut to nothing before it is written anew takes no password away.
func TestAFileIsBelievedWhenItRests(t *testing.T) {
	var file settling
	for i, look := range []struct {
		text string
		told bool
	}{
		{"one", true}, {"one", false}, {"", false}, {"two", false}, {"two", true}, {"two", false}, {"", false}, {"", true},
	} {
		if got := file.look(outcome{text: look.text}); got != look.told {
			t.Errorf("look %d, at %q: told %t, want %t", i, look.text, got, look.told)
		}
	}
}
