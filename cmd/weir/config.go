package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/api/transport"
	"github.com/weir-lb/weir/dataplane/health"
	"github.com/weir-lb/weir/dataplane/loader"
)

// config is what the flags say.
type config struct {
	bgp, peer, egrHooks  bool
	looseRPFilter        bool
	cleanup, prepare     bool
	stay                 bool
	blacklist, whitelist string
	hook                 string
	socket, listen       string
	stateDir, pinDir     string
	tls                  transport.Files
	nodeName             string
	maxFlows             uint32
	gobgpAPI             string
	logLevel             string
	probes               health.Timing

	// Set by complete.
	skip, only *regexp.Regexp
	level      slog.Level
}

// alias are LoxiLB's spellings of flags.
var alias = map[string]pflag.NormalizedName{
	"loglevel":        "log-level",
	"tls-certificate": "tls-cert",
}

func (c *config) flags(f *pflag.FlagSet) {
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if to, ok := alias[name]; ok {
			return to
		}
		return pflag.NormalizedName(name)
	})
	f.BoolVarP(&c.bgp, "bgp", "b", false, "speak BGP: announce service addresses, install learned routes")
	f.BoolVarP(&c.peer, "peer", "r", false, "speak BGP only, forward nothing (implies --bgp)")
	f.BoolVar(&c.egrHooks, "egr-hooks", false, "serve also traffic that starts or ends on this node: it and its pods reach service addresses (a route to each, proto 119), and backends on it are used, which get nothing without this flag")
	f.BoolVar(&c.looseRPFilter, "loose-rp-filter", true, "with --peer or --egr-hooks: set rp_filter of overlay interfaces (flannel.1, ...) from 1 to 2, without which pods behind them stay silent; weirctl drain restores it")
	f.BoolVar(&c.cleanup, "cleanup", false, "remove what a weir left that does not run any more, then end; a running one is stopped by weirctl drain")
	f.BoolVar(&c.stay, "stay", false, "with --cleanup: do not end when nothing is left, so that a pod which cleans each node of a cluster stays")
	f.BoolVar(&c.prepare, "prepare", false, "mount the BPF file system of --pin-dir where none is, then end: for an init container, so that weir itself may not mount")
	f.StringVar(&c.blacklist, "blacklist", "", "regular expression of the interfaces to leave alone")
	f.StringVar(&c.whitelist, "whitelist", "", "regular expression of the only interfaces to use")
	f.StringVar(&c.hook, "hook", "auto", "where to take packets: auto, xdp or tc")
	f.StringVar(&c.socket, "socket", "/run/weir/weir.sock", "unix socket of the API")
	f.StringVar(&c.listen, "listen", "0.0.0.0:11111", "TCP address of the API, loopback only without certificates; empty for none")
	f.StringVar(&c.stateDir, "state-dir", "", "folder that keeps the desired state over a restart, /var/lib/weir for one; empty for none")
	f.StringVar(&c.pinDir, "pin-dir", "/sys/fs/bpf/weir", "folder of a BPF file system by which packets are forwarded over a restart; empty for none")
	f.StringVar(&c.tls.Cert, "tls-cert", "", "PEM file of this node's certificate")
	f.StringVar(&c.tls.Key, "tls-key", "", "PEM file of its private key")
	f.StringVar(&c.tls.CA, "tls-ca", "", "PEM file of the CA whose clients may use the API")
	f.StringVar(&c.nodeName, "node-name", "", "name of this node (default: host name)")
	f.Uint32Var(&c.maxFlows, "max-flows", 0, "size of the flow table in entries, two a connection (default: the dataplane's)")
	f.DurationVar(&c.probes.Period, "probe-period", health.DefaultPeriod, "time between two health probes of a backend, of services that do not say (loxilb.io/probetimeout)")
	f.DurationVar(&c.probes.Timeout, "probe-timeout", health.DefaultTimeout, "how long its answer may take (weir-lb.io/probewait)")
	f.IntVar(&c.probes.Retries, "probe-retries", health.DefaultRetries, "how many failures in a row, after the first, are forgiven (loxilb.io/proberetries)")
	f.StringVar(&c.gobgpAPI, "gobgp-api", "127.0.0.1:50051", "address of GoBGP's gRPC API, for the gobgp command; empty for none")
	f.StringVar(&c.logLevel, "log-level", "info", "least level to log: debug, info, warn or error")
}

// complete checks the flags and fills in what follows from them.
func (c *config) complete() error {
	c.bgp = c.bgp || c.peer
	var err error
	if c.skip, err = interfaces("blacklist", c.blacklist); err != nil {
		return err
	}
	if c.only, err = interfaces("whitelist", c.whitelist); err != nil {
		return err
	}
	switch c.hook {
	case "auto", "xdp", "tc":
	default:
		return fmt.Errorf("read --hook: unknown hook %q; use auto, xdp or tc", c.hook)
	}
	if err := loader.CheckMaxFlows(c.maxFlows); err != nil {
		return fmt.Errorf("read --max-flows: %w", err)
	}
	if err := c.probes.Check(); err != nil {
		return fmt.Errorf("read --probe flags: %w", err)
	}
	if c.stay && !c.cleanup {
		return errors.New("read --stay: it is for --cleanup alone")
	}
	if c.prepare && c.pinDir == "" {
		return errors.New("read --prepare: there is nothing to prepare without --pin-dir")
	}
	if _, err := c.tls.Given(); err != nil {
		return fmt.Errorf("read --tls flags: %w", err)
	}
	if c.level, err = levelOf(c.logLevel); err != nil {
		return err
	}
	if c.nodeName == "" {
		if c.nodeName, err = os.Hostname(); err != nil {
			return fmt.Errorf("read host name: %w; give --node-name", err)
		}
	}
	return nil
}

// interfaces compiles an expression over interface names. LoxiLB's "none"
// means that there is none.
func interfaces(flag, expr string) (*regexp.Regexp, error) {
	if expr == "" || expr == "none" {
		return nil, nil
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("read --%s: %w", flag, err)
	}
	return re, nil
}

// levelOf reads slog's levels and LoxiLB's.
func levelOf(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "trace", "debug":
		return slog.LevelDebug, nil
	case "info", "notice":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "critical", "alert", "emergency":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("read --log-level: unknown level %q; use debug, info, warn or error", name)
}
