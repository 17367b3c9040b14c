package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/api/client"
	"github.com/weir-lb/weir/api/transport"
	"github.com/weir-lb/weir/cmd/internal/version"
)

// Where the daemons listen by default.
const (
	nodeSocket       = "/run/weir/weir.sock"
	controllerSocket = "kube-weir.sock" // beside the node's
)

const long = `weirctl shows what weir (a node) and kube-weir (the controller) do.

It talks to the unix socket of this machine, or with --server to another one
over mutual TLS.

Environment:
  WEIR_SOCKET             socket of weir, instead of ` + nodeSocket + `
  WEIR_CONTROLLER_SOCKET  socket of kube-weir, instead of ` + controllerSocket + ` in the same folder

Exit codes:
  0  success
  1  the daemon could not do it, or answered what is not understood; doctor found a failure
  2  wrong arguments; doctor could not look
  3  the daemon cannot be reached
  4  the daemon refused the request`

// options are the flags that every command has.
type options struct {
	output  string // "", "wide" or "json"
	socket  string
	server  string
	tls     transport.Files
	name    string // that the certificate of server carries
	timeout time.Duration
	getenv  func(string) string
}

func newRoot(getenv func(string) string) *cobra.Command {
	o := &options{getenv: getenv}
	root := &cobra.Command{
		Use:           "weirctl",
		Short:         "Show what weir and kube-weir do",
		Long:          long,
		Version:       version.String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return o.check()
		},
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("unknown command %q", args[0]))
			}
			return cmd.Help()
		},
	}
	root.SetVersionTemplate("weirctl {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	f := root.PersistentFlags()
	f.StringVarP(&o.output, "output", "o", "", "wide or json")
	f.StringVar(&o.socket, "socket", "", "unix socket of the daemon")
	f.StringVar(&o.server, "server", "", "https://HOST:11111 of a remote daemon, with --tls flags")
	f.StringVar(&o.tls.Cert, "tls-cert", "", "PEM file of our certificate")
	f.StringVar(&o.tls.Key, "tls-key", "", "PEM file of its private key")
	f.StringVar(&o.tls.CA, "tls-ca", "", "PEM file of the CA of the daemon's certificate")
	f.StringVar(&o.name, "tls-server-name", "", "name that the daemon's certificate carries, weir where kube-weir made it (default: the host of --server)")
	f.DurationVarP(&o.timeout, "timeout", "t", client.DefaultTimeout, "how long to wait for an answer")
	root.AddCommand(newGet(o), newDrain(o), newDoctor(o))
	return root
}

func (o *options) check() error {
	switch {
	case o.output != "" && o.output != "wide" && o.output != "json":
		return usage(fmt.Errorf("read --output: unknown format %q; use wide or json", o.output))
	case o.socket != "" && o.server != "":
		return usage(errors.New("read flags: give --socket or --server, not both"))
	}
	return nil
}

// noArgs refuses arguments, as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usage(err)
	}
	return nil
}

// node returns a client of weir.
func (o *options) node() (*client.Client, error) { return o.connect(o.nodeSocket()) }

// controller returns a client of kube-weir.
func (o *options) controller() (*client.Client, error) { return o.connect(o.controllerSocket()) }

func (o *options) nodeSocket() string {
	return cmp.Or(o.socket, o.getenv("WEIR_SOCKET"), nodeSocket)
}

func (o *options) controllerSocket() string {
	node := cmp.Or(o.getenv("WEIR_SOCKET"), nodeSocket)
	return cmp.Or(o.socket, o.getenv("WEIR_CONTROLLER_SOCKET"), filepath.Join(filepath.Dir(node), controllerSocket))
}

func (o *options) connect(socket string) (*client.Client, error) {
	to := client.Options{Socket: socket, TLS: o.tls, ServerName: o.name, Timeout: o.timeout}
	if o.server != "" {
		to.Socket, to.Server = "", o.server
	}
	c, err := client.New(to)
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}
