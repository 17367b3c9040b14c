package main

import (
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/k8s"
)

// flags is what the command line says, as it is written.
type flags struct {
	manifests                           string
	cluster                             clusterFlags
	externalCIDR, cidrPools, cidr6Pools string
	setBGP                              uint32
	extBGPPeers, bgpPasswordFile        string
	extBGPAccept                        string
	extBGPMaxPrefixes                   uint32
	extBGPTTLSecurity                   bool
	listenBGPPort, bgpHoldTime          uint16
	eBGPMultiHop                        bool
	setRoles                            string
	setLBMode                           int
	monitor, setUniqueIP, usePodNetwork bool
	withdraw                            bool
	tls                                 transport.Files
	tlsServerName                       string
	socket, listen, healthListen        string
	memory, logLevel                    string
}

// config is what follows from the flags.
type config struct {
	manifests      string      // folder, empty where cluster is it
	cluster        k8s.Options // without Log
	passwords      string      // file of them, empty for none
	controller     controller.Config
	tls            transport.Credentials
	secure         bool
	serverName     string // that nodes' certificates carry, empty for their addresses
	socket, memory string
	listen         string // TCP address of the API, empty for none
	healthListen   string // TCP address of the probes, empty for none
	level          slog.Level
}

// setRolesAlone is the value of --setRoles without one: LoxiLB's "no address".
const setRolesAlone = "0.0.0.0"

func (f *flags) define(set *pflag.FlagSet) {
	set.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "loglevel" { // LoxiLB's spelling
			name = "log-level"
		}
		return pflag.NormalizedName(name)
	})
	set.StringVar(&f.manifests, "manifests", "", "folder of manifests to read the cluster from, instead of an apiserver")
	f.cluster.define(set)
	set.StringVar(&f.cidrPools, "cidrPools", "", "pools of service addresses, IPv4 and IPv6: name=CIDR or name=first-last, comma separated; one of a name given twice has both")
	set.StringVar(&f.cidr6Pools, "cidr6Pools", "", "more of them, of IPv6 alone; nodes do not serve IPv6 yet, so its addresses are reserved and not published")
	set.StringVar(&f.externalCIDR, "externalCIDR", "", "the one pool, as CIDR; short for --cidrPools=defaultPool=CIDR")
	set.BoolVar(&f.setUniqueIP, "setUniqueIP", false, "give every service an address of its own")
	set.Uint32Var(&f.setBGP, "setBGP", 0, "AS number of all nodes; turns BGP on")
	set.StringVar(&f.extBGPPeers, "extBGPPeers", "", "external peers of the load balancer nodes: IP:AS, comma separated")
	set.StringVar(&f.bgpPasswordFile, "bgpPasswordFile", "", "file with the passwords of external peers (RFC 2385): a line IP PASSWORD each; read again when it changes")
	set.StringVar(&f.extBGPAccept, "extBGPAccept", "any", "what external peers may announce: any, none, or prefixes, comma separated, each with all inside it; service and node addresses are never taken from them")
	set.Uint32Var(&f.extBGPMaxPrefixes, "extBGPMaxPrefixes", v1.DefaultMaxPrefixes, "how many prefixes an external peer may announce before it is shut out for five minutes")
	set.BoolVar(&f.extBGPTTLSecurity, "extBGPTTLSecurity", false, "refuse external peers that are behind a router (RFC 5082); their side needs it too")
	set.Uint16Var(&f.listenBGPPort, "listenBGPPort", 179, "port on which all nodes listen for BGP")
	set.Uint16Var(&f.bgpHoldTime, "bgpHoldTime", 0, "BGP hold time in seconds, 3 or more (default: weir's, 9)")
	set.BoolVar(&f.eBGPMultiHop, "eBGPMultiHop", false, "allow external peers that are behind a router")
	set.StringVar(&f.setRoles, "setRoles", "", "one load balancer node is active for all addresses, instead of each for some")
	set.Lookup("setRoles").NoOptDefVal = setRolesAlone
	set.IntVar(&f.setLBMode, "setLBMode", 0, "mode of services without an annotation: 0 default, 1 onearm, 2 fullnat")
	set.BoolVar(&f.monitor, "monitor", false, "probe the backends of services without an annotation")
	set.BoolVar(&f.withdraw, "withdraw", false, "do not announce an address while no service on it has a live backend, for services without an annotation (weir-lb.io/withdraw)")
	set.BoolVar(&f.usePodNetwork, "usePodNetwork", false, "send to pods, and not to node ports, for services without an annotation")
	set.StringVar(&f.tls.Cert, "tls-cert", "", "PEM file of the controller's certificate (default in a cluster: certificates that the controller makes, in Secrets)")
	set.StringVar(&f.tls.Key, "tls-key", "", "PEM file of its private key")
	set.StringVar(&f.tls.CA, "tls-ca", "", "PEM file of the CA of the nodes' certificates")
	set.StringVar(&f.tlsServerName, "tls-server-name", "", "name that the nodes' certificates carry (default: each node's address; with certificates that the controller makes, weir)")
	set.StringVar(&f.socket, "socket", "/run/weir/kube-weir.sock", "unix socket of the API")
	set.StringVar(&f.listen, "listen", "", "TCP address of the API too, for Prometheus (/metrics), such as 0.0.0.0:11112; clients need a certificate of --tls-ca, and without certificates it is loopback only")
	set.StringVar(&f.healthListen, "health-listen", "", "TCP address of /healthz and /readyz alone, for a kubelet's probes, which bring no certificate, such as :11113")
	set.StringVar(&f.memory, "memory", "", "file that keeps addresses over a restart, with --manifests (default: kube-weir.json beside the socket)")
	set.StringVar(&f.logLevel, "log-level", "info", "least level to log: debug, info, warn or error")
}
