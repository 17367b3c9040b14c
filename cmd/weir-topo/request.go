package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// requestFlags are the flags of weir-topo request.
type requestFlags struct {
	count, parallel, size, mtu int
	source                     string
	timeout                    time.Duration
	json                       bool
}

// newRequestCommand is weir-topo request: what clients of a topology run.
func newRequestCommand() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "request {http|tcp|udp|sctp} ADDRESS:PORT",
		Short: "Send requests to a weir-topo serve and say who answered",
		Long: `Send requests and say which backend answered and which client address it saw.
Any request without a right answer makes the exit code 1.`,
		Example: `  weir-topo request sctp 123.123.123.1:55004
  weir-topo request http 123.123.123.1:55002 --count 1000 --parallel 64 --source 192.168.90.1`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.request(args[0], args[1])
			if err != nil {
				return err
			}
			cmd.SilenceUsage = true // from here on an error is not one of usage
			return f.run(cmd.Context(), r, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&f.count, "count", 1, "how many requests")
	cmd.Flags().IntVar(&f.parallel, "parallel", 1, "how many of them at once")
	cmd.Flags().StringVar(&f.source, "source", "", "source IP[:PORT]; default as the kernel chooses")
	cmd.Flags().DurationVar(&f.timeout, "timeout", probe.DefaultTimeout, "of each request")
	cmd.Flags().IntVar(&f.size, "size", 0, "bytes of payload that the server echoes (not http)")
	cmd.Flags().IntVar(&f.mtu, "mtu", rawsctp.DefaultMTU, "path MTU in bytes, for SCTP")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

// request reads the arguments.
func (f requestFlags) request(protocol, target string) (probe.Request, error) {
	r := probe.Request{Protocol: probe.Protocol(strings.ToLower(protocol)), Size: f.size, Timeout: f.timeout}
	known := false
	for _, p := range probe.Protocols() {
		known = known || p == r.Protocol
	}
	if !known {
		return r, fmt.Errorf("request: unknown protocol %q; use http, tcp, udp or sctp", protocol)
	}
	if f.count < 1 || f.parallel < 1 || f.timeout <= 0 {
		return r, fmt.Errorf("request: --count, --parallel and --timeout must be above 0")
	}
	var err error
	if r.Target, err = netip.ParseAddrPort(target); err != nil || !r.Target.Addr().Is4() {
		return r, fmt.Errorf("request: target %q: want an IPv4 ADDRESS:PORT", target)
	}
	if r.Source, err = parseSource(f.source); err != nil {
		return r, err
	}
	return r, nil
}

// parseSource reads IP[:PORT]; nothing is no source.
func parseSource(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPort{}, nil
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		addr, addrErr := netip.ParseAddr(s)
		at, err = netip.AddrPortFrom(addr, 0), addrErr
	}
	if err != nil || !at.Addr().Is4() {
		return netip.AddrPort{}, fmt.Errorf("request: source %q: want an IPv4 ADDRESS[:PORT]", s)
	}
	return at, nil
}

func (f requestFlags) run(ctx context.Context, r probe.Request, out io.Writer) error {
	client := &probe.Client{MTU: f.mtu}
	defer client.Close()
	result := client.Spread(ctx, r, f.count, f.parallel)
	if err := f.print(out, result); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	if result.Lost() > 0 {
		return fmt.Errorf("request %s %s: %d of %d lost", r.Protocol, r.Target, result.Lost(), result.Requests)
	}
	return nil
}

func (f requestFlags) print(out io.Writer, result probe.Result) error {
	if f.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
	}
	if f.count == 1 && result.Lost() == 0 {
		_, err := fmt.Fprintln(out, result.Answers[0])
		return err
	}
	_, err := fmt.Fprintln(out, result)
	return err
}
