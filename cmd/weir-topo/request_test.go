package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo/probe"
)

// run executes a command line and returns what it printed.
func execute(ctx context.Context, cmd *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

// serving starts weir-topo serve on loopback and returns what it printed until it was ready.
func serving(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read, write := io.Pipe()
	cmd := newServeCommand()
	cmd.SetArgs(args)
	cmd.SetOut(write)
	done := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		_ = write.CloseWithError(errors.Join(err, io.EOF))
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var printed strings.Builder
	buf := make([]byte, 512)
	for !strings.Contains(printed.String(), "ready\n") {
		n, err := read.Read(buf)
		if err != nil {
			t.Fatalf("serve ended: %v, after %s", err, printed.String())
		}
		printed.Write(buf[:n])
	}
	return printed.String()
}

func TestServeAndRequestEveryProtocol(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	printed := serving(t, "--name", "pod-1", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0",
		"--sctp", "127.0.0.1:9999", "--ready-file", ready)
	if _, err := os.Stat(ready); err != nil {
		t.Error(err)
	}
	for _, p := range probe.Protocols() {
		at := regexp.MustCompile(`pod-1 serves ` + string(p) + ` on (\S+)`).FindStringSubmatch(printed)
		if at == nil {
			t.Fatalf("%s is not served: %s", p, printed)
		}
		out, err := execute(t.Context(), newRequestCommand(), string(p), at[1])
		if err != nil || !strings.Contains(out, "answered by pod-1, which saw 127.0.0.1:") {
			t.Errorf("%s: %s%v", p, out, err)
		}
		out, err = execute(t.Context(), newRequestCommand(), string(p), at[1], "--count", "20", "--parallel", "4", "--source", "127.0.0.9", "--json")
		var result probe.Result
		if err := errors.Join(err, json.Unmarshal([]byte(out), &result)); err != nil {
			t.Fatal(err)
		}
		if result.Backends["pod-1"] != 20 || len(result.Answers) != 20 || result.Answers[0].SeenClient.Addr().String() != "127.0.0.9" {
			t.Errorf("%s: %s", p, out)
		}
	}
}

func TestRequestFailsOnLoss(t *testing.T) {
	out, err := execute(t.Context(), newRequestCommand(), "tcp", "127.0.0.1:9", "--count", "3")
	if err == nil || !strings.Contains(err.Error(), "3 of 3 lost") || !strings.Contains(out, "refused 3") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBadArgumentsSayWhatIsWanted(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown protocol":      {"quic", "127.0.0.1:80"},
		"want an IPv4 ADDRESS:": {"tcp", "127.0.0.1"},
		"want an IPv4 ADDRESS[": {"tcp", "127.0.0.1:80", "--source", "here"},
		"must be above 0":       {"tcp", "127.0.0.1:80", "--count", "0"},
	} {
		if _, err := execute(t.Context(), newRequestCommand(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, err := execute(t.Context(), newServeCommand()); err == nil || !strings.Contains(err.Error(), "--http") {
		t.Errorf("serve without anything: %v", err)
	}
}
