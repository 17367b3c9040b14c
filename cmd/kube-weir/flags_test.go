package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	v1 "github.com/weir-lb/weir/api/v1"
)

func parse(t *testing.T, args ...string) (config, error) {
	t.Helper()
	var f flags
	set := pflag.NewFlagSet("kube-weir", pflag.ContinueOnError)
	f.define(set)
	if err := set.Parse(append([]string{"--manifests=" + t.TempDir()}, args...)); err != nil {
		t.Fatal(err)
	}
	return f.complete()
}

func TestArticlesArguments(t *testing.T) {
	c, err := parse(t, "--externalCIDR=123.123.123.1/24", "--setBGP=64512", "--setRoles")
	if err != nil {
		t.Fatal(err)
	}
	p := c.controller.Pools
	if len(p) != 1 || p[0].Name != "defaultPool" || p[0].String() != "123.123.123.1-123.123.123.254" {
		t.Errorf("pools %v", p)
	}
	if b := c.controller.BGP; b == nil || b.ASN != 64512 || b.ListenPort != 179 || len(b.External) != 0 {
		t.Errorf("BGP %+v", b)
	}
	if !c.controller.SetRoles || c.controller.Mode != v1.ModeDefault || c.controller.Monitor {
		t.Errorf("config %+v", c.controller)
	}
}

func TestFlags(t *testing.T) {
	pool := "--externalCIDR=10.0.0.0/24"
	for _, row := range []struct {
		says string
		args []string
		ok   func(config) bool
	}{
		{"--setRoles with LoxiLB's value of none", []string{pool, "--setRoles=0.0.0.0"}, func(c config) bool { return c.controller.SetRoles }},
		{"no --setRoles", []string{pool}, func(c config) bool { return !c.controller.SetRoles && c.controller.BGP == nil }},
		{"an AS number of four bytes", []string{pool, "--setBGP=4200000001"}, func(c config) bool { return c.controller.BGP.ASN == 4200000001 }},
		{"--setLBMode", []string{pool, "--setLBMode=2"}, func(c config) bool { return c.controller.Mode == v1.ModeFullNAT }},
		{"external peers and the rest of BGP", []string{pool, "--setBGP=64512", "--extBGPPeers=192.168.80.1:65101, 192.168.90.9:64511,", "--listenBGPPort=1791", "--bgpHoldTime=3", "--eBGPMultiHop"},
			func(c config) bool {
				b := c.controller.BGP
				return len(b.External) == 2 && b.External[1].ASN == 64511 && b.External[1].Address.String() == "192.168.90.9" &&
					b.ListenPort == 1791 && b.HoldTime == 3 && b.MultiHop
			}},
		{"from external peers anything comes, up to a limit", []string{pool, "--setBGP=64512"},
			func(c config) bool {
				b := c.controller.BGP
				return b.Accept == nil && b.MaxPrefixes == v1.DefaultMaxPrefixes && !b.TTLSecurity
			}},
		{"nothing may", []string{pool, "--setBGP=64512", "--extBGPAccept=none"},
			func(c config) bool { return c.controller.BGP.Accept != nil && len(c.controller.BGP.Accept) == 0 }},
		{"some may, from neighbours alone", []string{pool, "--setBGP=64512", "--extBGPAccept=10.1.2.3/8, 0.0.0.0/0", "--extBGPMaxPrefixes=5", "--extBGPTTLSecurity"},
			func(c config) bool {
				b := c.controller.BGP
				return len(b.Accept) == 2 && b.Accept[0].String() == "10.0.0.0/8" && b.MaxPrefixes == 5 && b.TTLSecurity
			}},
		{"several pools", []string{"--cidrPools=a=10.0.0.0/24,b=10.0.1.5-10.0.1.9"}, func(c config) bool { return len(c.controller.Pools) == 2 }},
		{"kube-loxilb's flag for IPv6 adds to the pools of its names", []string{"--cidrPools=a=10.0.0.1/32,b=2001:db8::1/128", "--cidr6Pools=a=2001:db8:a::/126,c=fd00::/64"},
			func(c config) bool {
				p := c.controller.Pools
				return len(p) == 3 && p[0].Name == "a" && p[0].String() == "10.0.0.1-10.0.0.1, 2001:db8:a::1-2001:db8:a::3" && p[1].Name == "b" && p[2].Name == "c"
			}},
		{"beside the article's", []string{pool, "--cidr6Pools=defaultPool=3ffe:cafe::1/96"},
			func(c config) bool { return len(c.controller.Pools) == 1 && len(c.controller.Pools[0].Ranges) == 2 }},
		{"or alone", []string{"--cidr6Pools=defaultPool=3ffe:cafe::1/96"}, func(c config) bool { return len(c.controller.Pools) == 1 }},
		{"switches", []string{pool, "--monitor", "--setUniqueIP", "--usePodNetwork"},
			func(c config) bool {
				return c.controller.Monitor && c.controller.UniqueIP && c.controller.UsePodNetwork
			}},
		{"the memory is beside the socket, so that two controllers have two", []string{pool, "--socket=/run/a/kube-weir.sock"},
			func(c config) bool { return c.memory == "/run/a/kube-weir.json" }},
		{"or where it is asked for, and levels have LoxiLB's spelling too", []string{pool, "--memory=/var/lib/x", "--loglevel=debug"},
			func(c config) bool { return c.memory == "/var/lib/x" && c.level < 0 }},
	} {
		t.Run(row.says, func(t *testing.T) {
			c, err := parse(t, row.args...)
			if err != nil || !row.ok(c) {
				t.Errorf("%v: got %+v, %v", row.args, c, err)
			}
		})
	}
}

// TestRefusals runs the command with what cannot be: it ends before it touches
// anything, with a line that says what to do.
func TestRefusals(t *testing.T) {
	manifests := t.TempDir()
	file := filepath.Join(manifests, "a.yaml")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	given, pool := "--manifests="+manifests, "--externalCIDR=10.0.0.0/24"
	for _, row := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{pool}, 1, "give --kubeconfig=FILE, or --manifests=DIR"},
		{[]string{pool, given, "--kubeconfig=x"}, 1, "both say where the objects are"},
		{[]string{pool, "--kubeconfig=" + filepath.Join(manifests, "none")}, 1, "give the file that kubectl uses"},
		{[]string{pool, "--kubeconfig=x", "--lease-duration=1s"}, 1, "1s is too short; use 3s or more"},
		{[]string{pool, "--manifests=" + filepath.Join(manifests, "none")}, 1, "create the folder first"},
		{[]string{pool, "--manifests=" + file}, 1, "is no folder"},
		{[]string{given}, 1, "give --externalCIDR=CIDR or --cidrPools=name=CIDR"},
		{[]string{given, "--externalCIDR=10.0.0.0/33"}, 1, "read --externalCIDR: parse pool \"defaultPool=10.0.0.0/33\": impossible prefix length: /33"},
		{[]string{given, "--cidrPools=a=10.0.0.0/24,b=10.0.0.128/25"}, 1, "read --cidrPools: parse pools: overlapping pools"},
		{[]string{given, pool, "--cidr6Pools=a=fe80::/64"}, 1, "read --cidr6Pools: parse pool \"a=fe80::/64\": not unicast: fe80::1-"},
		{[]string{given, pool, "--cidr6Pools=a=2001:db8::/64,b=10.0.1.0/24"}, 1, "read --cidr6Pools: 10.0.1.1-10.0.1.254 of b is IPv4; give it with --cidrPools"},
		{[]string{given, "--cidrPools=a=2001:db8::/32", "--cidr6Pools=b=2001:db8:7::/64"}, 1, "read --cidrPools and --cidr6Pools: parse pools: overlapping pools"},
		{[]string{given, pool, "--cidr6Pools=,"}, 1, "read --cidr6Pools: parse pools: empty pool"},
		{[]string{given, "--cidrPools=a=10.0.0.9-10.0.0.1"}, 1, "reversed range: 10.0.0.1 is before 10.0.0.9; write 10.0.0.1-10.0.0.9"},
		{[]string{given, pool, "--cidrPools=a=10.0.0.0/24"}, 1, "give only one of them"},
		{[]string{given, pool, "--extBGPPeers=192.168.80.1:65101"}, 1, "there is no BGP without --setBGP=AS"},
		{[]string{given, pool, "--setBGP=64512", "--extBGPPeers=192.168.80.1"}, 1, `"" is no AS number; write IP:AS`},
		{[]string{given, pool, "--setBGP=64512", "--extBGPPeers=router:65101"}, 1, `"router" is no IPv4 address`},
		{[]string{given, pool, "--setBGP=64512", "--extBGPPeers=192.168.80.1:1,192.168.80.1:2"}, 1, "192.168.80.1 is there twice"},
		{[]string{given, pool, "--setBGP=64512", "--bgpHoldTime=2"}, 1, "use 3 or more"},
		{[]string{given, pool, "--setBGP=64512", "--listenBGPPort=0"}, 1, "0 is no port"},
		{[]string{given, pool, "--setBGP=64512", "--extBGPAccept=10.0.0.0"}, 1, `"10.0.0.0" is no IPv4 prefix; write any, none, or ADDRESS/BITS`},
		{[]string{given, pool, "--setBGP=64512", "--extBGPMaxPrefixes=0"}, 1, "0 lets nobody in"},
		{[]string{given, pool, "--setBGP=64512", "--extBGPTTLSecurity", "--eBGPMultiHop"}, 1, "give only one of them"},
		{[]string{given, pool, "--setRoles=192.168.80.80"}, 1, "weir binds no address to an interface"},
		{[]string{given, pool, "--setLBMode=3"}, 1, "use 0 default, 1 onearm or 2 fullnat"},
		{[]string{given, pool, "--tls-cert=x"}, 1, "give --tls-cert, --tls-key and --tls-ca together"},
		{[]string{given, pool, "--log-level=loud"}, 1, "use debug, info, warn or error"},
		{[]string{given, pool, "--setBGP=70000000000"}, 2, "see kube-weir --help"},
		{[]string{given, pool, "--no-such-flag"}, 2, "unknown flag: --no-such-flag; see kube-weir --help"},
		{[]string{given, pool, "--setRoles", "0.0.0.0"}, 2, `unexpected "0.0.0.0"; values follow their flag after =`},
	} {
		t.Run(strings.Join(row.args[1:], " "), func(t *testing.T) {
			run1 := filepath.Join(t.TempDir(), "run")
			var stderr bytes.Buffer
			code := run(context.Background(), append(row.args, "--socket="+filepath.Join(run1, "kube-weir.sock")), &stderr, &stderr)
			if code != row.code || !strings.Contains(stderr.String(), row.message) {
				t.Errorf("got exit code %d and %q\nwant %d and %q", code, stderr.String(), row.code, row.message)
			}
			if _, err := os.Stat(run1); err == nil {
				t.Error("something was written")
			}
		})
	}
}

func TestFlagsOfKubeLoxiLBAreRefusedWithAdvice(t *testing.T) {
	for name, advice := range unserved {
		for _, arg := range []string{"--" + name, "--" + name + "=x"} {
			var stderr bytes.Buffer
			code := run(context.Background(), []string{arg}, &stderr, &stderr)
			want := "kube-weir: read --" + name + ": not served here; " + advice + "; see kube-weir --help\n"
			if code != 2 || stderr.String() != want {
				t.Errorf("%s: got exit code %d and %q\nwant 2 and %q", arg, code, stderr.String(), want)
			}
		}
	}
}

func TestAllMistakesAreTold(t *testing.T) {
	_, err := parse(t, "--externalCIDR=10.0.0.0/33", "--setLBMode=9")
	if err == nil || !strings.Contains(err.Error(), "--externalCIDR") || !strings.Contains(err.Error(), "--setLBMode") {
		t.Errorf("got %v, want both mistakes", err)
	}
}
