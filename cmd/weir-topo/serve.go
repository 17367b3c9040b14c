package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/topo/probe"
	"github.com/weir-lb/weir/topo/probe/rawsctp"
)

// serveFlags are the flags of weir-topo serve.
type serveFlags struct {
	name      string
	addresses map[probe.Protocol]*string
	mtu       int
	readyFile string
}

// newServeCommand is weir-topo serve: what runs in the pods of a topology.
func newServeCommand() *cobra.Command {
	f := serveFlags{addresses: map[probe.Protocol]*string{}}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer HTTP, TCP, UDP and SCTP requests with a name and the client's address",
		Long: `Answer requests until SIGINT or SIGTERM. Every answer carries the name and the client's address as seen here.
SCTP runs in user space over a raw socket: the kernel needs none, and must have none loaded.`,
		Example: "  weir-topo serve --name nginx-test --http :80 --tcp :7000 --udp :33333 --sctp :9999",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	hostname, _ := os.Hostname() // without one --name is needed, and Listen says so
	cmd.Flags().StringVar(&f.name, "name", hostname, "name that answers carry")
	for _, p := range probe.Protocols() {
		f.addresses[p] = cmd.Flags().String(string(p), "", fmt.Sprintf("serve %s at this [ADDRESS]:PORT", p))
	}
	cmd.Flags().IntVar(&f.mtu, "mtu", rawsctp.DefaultMTU, "path MTU in bytes, for SCTP")
	cmd.Flags().StringVar(&f.readyFile, "ready-file", "", "make this file when every socket is open; it is removed at the end")
	return cmd
}

func (f serveFlags) run(ctx context.Context, out, warnings io.Writer) (err error) {
	addresses := map[probe.Protocol]string{}
	for p, address := range f.addresses {
		if *address != "" {
			addresses[p] = *address
		}
	}
	if len(addresses) == 0 {
		return errors.New("serve: nothing to serve; use --http, --tcp, --udp or --sctp")
	}
	s, err := probe.Listen(probe.ServerOptions{Name: f.name, Addresses: addresses, MTU: f.mtu})
	if err != nil {
		return err
	}
	for _, p := range probe.Protocols() {
		if at := s.Addr(p); at.IsValid() {
			fmt.Fprintf(out, "%s serves %s on %s\n", f.name, p, at)
		}
	}
	if addresses[probe.SCTP] != "" && rawsctp.KernelHasSCTP() {
		fmt.Fprintln(warnings, "this kernel has SCTP loaded and will answer our associations with ABORT; unload the module sctp")
	}
	if f.readyFile != "" {
		if err := os.WriteFile(f.readyFile, []byte("ready\n"), 0o644); err != nil {
			return errors.Join(fmt.Errorf("say ready: %w", err), s.Close())
		}
		defer func() { err = errors.Join(err, os.Remove(f.readyFile)) }()
	}
	fmt.Fprintln(out, "ready")
	err = s.Run(ctx)
	if n := s.SCTPStats().BadChecksum; n > 0 {
		fmt.Fprintf(warnings, "%d SCTP packets were dropped for a wrong CRC32c\n", n)
	}
	return err
}
