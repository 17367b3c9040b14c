package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// complete checks everything before anything is touched. All mistakes are
// told at once, a line each.
func (f *flags) complete() (config, error) {
	c := config{manifests: f.manifests, passwords: f.bgpPasswordFile, tls: f.tls, serverName: f.tlsServerName, socket: f.socket, listen: f.listen, healthListen: f.healthListen, memory: f.memory}
	c.controller.UniqueIP, c.controller.Monitor, c.controller.UsePodNetwork = f.setUniqueIP, f.monitor, f.usePodNetwork
	c.controller.Withdraw = f.withdraw
	if c.memory == "" {
		c.memory = filepath.Join(filepath.Dir(f.socket), "kube-weir.json")
	}
	var errs []error
	check := func(err error) { errs = append(errs, err) }
	var err error
	c.cluster, err = f.source()
	check(err)
	c.controller.Pools, err = f.pools()
	check(err)
	c.controller.BGP, err = f.bgp()
	check(err)
	c.controller.SetRoles, err = f.roles()
	check(err)
	c.controller.Mode, err = f.mode()
	check(err)
	c.secure, err = f.tls.Given()
	check(err)
	c.level, err = f.level()
	check(err)
	return c, errors.Join(errs...)
}

// pools reads the flags one by one, so that a fault is told of the one that has
// it, and then all together: pools of one name are one.
func (f *flags) pools() ([]ipam.Pool, error) {
	if f.externalCIDR != "" && f.cidrPools != "" {
		return nil, errors.New("read --externalCIDR: it is short for --cidrPools=defaultPool=CIDR; give only one of them")
	}
	var lists []string
	for _, flag := range []struct {
		name, prefix, value string
		ipv6                bool
	}{
		{"--externalCIDR", ipam.DefaultPool + "=", f.externalCIDR, false},
		{"--cidrPools", "", f.cidrPools, false},
		{"--cidr6Pools", "", f.cidr6Pools, true},
	} {
		if flag.value == "" {
			continue
		}
		pools, err := ipam.ParsePools(flag.prefix + flag.value)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", flag.name, err)
		}
		for _, p := range pools {
			if four := p.Family(false); flag.ipv6 && len(four.Ranges) > 0 {
				return nil, fmt.Errorf("read %s: %s of %s is IPv4; give it with --cidrPools", flag.name, four, p.Name)
			}
		}
		lists = append(lists, flag.prefix+flag.value)
	}
	if len(lists) == 0 {
		return nil, errors.New("no pool of service addresses given; give --externalCIDR=CIDR or --cidrPools=name=CIDR")
	}
	pools, err := ipam.ParsePools(strings.Join(lists, ","))
	if err != nil {
		return nil, fmt.Errorf("read --cidrPools and --cidr6Pools: %w", err)
	}
	return pools, nil
}

func (f *flags) bgp() (*controller.BGP, error) {
	if f.setBGP == 0 {
		if f.extBGPPeers != "" {
			return nil, errors.New("read --extBGPPeers: there is no BGP without --setBGP=AS")
		}
		if f.bgpPasswordFile != "" {
			return nil, errors.New("read --bgpPasswordFile: there is no BGP without --setBGP=AS")
		}
		return nil, nil
	}
	switch {
	case f.listenBGPPort == 0:
		return nil, errors.New("read --listenBGPPort: 0 is no port; use 1 to 65535")
	case f.bgpHoldTime != 0 && f.bgpHoldTime < 3:
		return nil, fmt.Errorf("read --bgpHoldTime: %d s is too short (RFC 4271 section 4.2); use 3 or more", f.bgpHoldTime)
	}
	if f.extBGPTTLSecurity && f.eBGPMultiHop {
		return nil, errors.New("read --extBGPTTLSecurity: peers behind a router (--eBGPMultiHop) cannot have it; give only one of them")
	}
	if f.extBGPMaxPrefixes == 0 {
		return nil, errors.New("read --extBGPMaxPrefixes: 0 lets nobody in; use 1 or more, or --extBGPAccept=none")
	}
	accept, err := parseAccept(f.extBGPAccept)
	if err != nil {
		return nil, fmt.Errorf("read --extBGPAccept: %w", err)
	}
	peers, err := parsePeers(f.extBGPPeers)
	if err != nil {
		return nil, fmt.Errorf("read --extBGPPeers: %w", err)
	}
	if err := setPasswords(peers, f.bgpPasswordFile); err != nil {
		return nil, fmt.Errorf("read --bgpPasswordFile: %w", err)
	}
	return &controller.BGP{
		ASN: f.setBGP, ListenPort: f.listenBGPPort, HoldTime: f.bgpHoldTime,
		External: peers, MultiHop: f.eBGPMultiHop,
		Accept: accept, MaxPrefixes: f.extBGPMaxPrefixes, TTLSecurity: f.extBGPTTLSecurity,
	}, nil
}

// parseAccept reads --extBGPAccept; nil stands for any, an empty list for none.
func parseAccept(list string) ([]netip.Prefix, error) {
	switch list {
	case "any", "":
		return nil, nil
	case "none":
		return []netip.Prefix{}, nil
	}
	var out []netip.Prefix
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		p, err := netip.ParsePrefix(item)
		if err != nil || !p.Addr().Is4() {
			return nil, fmt.Errorf("%q is no IPv4 prefix; write any, none, or ADDRESS/BITS, comma separated", item)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func parsePeers(list string) ([]controller.ExternalPeer, error) {
	var peers []controller.ExternalPeer
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		host, asn, _ := strings.Cut(item, ":")
		address, err := netip.ParseAddr(host)
		if err != nil || !address.Is4() {
			return nil, fmt.Errorf("%q: %q is no IPv4 address; write IP:AS", item, host)
		}
		number, err := strconv.ParseUint(asn, 10, 32)
		if err != nil || number == 0 {
			return nil, fmt.Errorf("%q: %q is no AS number; write IP:AS", item, asn)
		}
		for _, p := range peers {
			if p.Address == address {
				return nil, fmt.Errorf("%s is there twice; remove one", address)
			}
		}
		peers = append(peers, controller.ExternalPeer{Address: address, ASN: uint32(number)})
	}
	return peers, nil
}

// roles reads --setRoles. LoxiLB's value is an address that the active node
// binds to an interface; weir never binds a service address, so only "none" is
// accepted.
func (f *flags) roles() (bool, error) {
	switch f.setRoles {
	case "", "false":
		return false, nil
	case setRolesAlone, "::", "true":
		return true, nil
	}
	return false, fmt.Errorf("read --setRoles: %q: weir binds no address to an interface; give --setRoles alone, or 0.0.0.0", f.setRoles)
}

func (f *flags) mode() (v1.Mode, error) {
	modes := []v1.Mode{v1.ModeDefault, v1.ModeOneArm, v1.ModeFullNAT}
	if f.setLBMode < 0 || f.setLBMode >= len(modes) {
		return "", fmt.Errorf("read --setLBMode: mode %d is not served; use 0 default, 1 onearm or 2 fullnat", f.setLBMode)
	}
	return modes[f.setLBMode], nil
}

func (f *flags) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(f.logLevel)); err != nil {
		return l, fmt.Errorf("read --log-level: unknown level %q; use debug, info, warn or error", f.logLevel)
	}
	return l, nil
}
