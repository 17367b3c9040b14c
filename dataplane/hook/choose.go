package hook

import (
	"fmt"
)

// Choice is which hook to use where there is one.
type Choice string

// The choices of --hook.
const (
	// Auto takes native XDP where the driver is known to transmit from it,
	// and TC everywhere else.
	Auto Choice = "auto"
	// XDP takes native XDP wherever it can be attached. On veth it needs NAPI
	// at the peer of every veth that packets leave by (`ethtool -K <peer> gro
	// on`, or any native XDP program there) and `ethtool -K <sender> tx off`:
	// else frames vanish uncounted, or go out with a wrong checksum
	// (docs/adr/0003). Whoever gives the flag sees to that.
	XDP Choice = "xdp"
	// TC takes TC everywhere.
	TC Choice = "tc"
)

// ParseChoice reads a choice; empty is Auto.
func ParseChoice(s string) (Choice, error) {
	switch c := Choice(s); c {
	case "":
		return Auto, nil
	case Auto, XDP, TC:
		return c, nil
	}
	return "", fmt.Errorf("choose hook: %q is unknown; use auto, xdp or tc", s)
}

// transmits has the drivers of physical and cloud devices that implement
// ndo_xdp_xmit for themselves and transmit from XDP. virtio_net is not among
// them: with XDP it gives up its receive offloads and needs a queue for each
// CPU. veth, bridge, bond, tun and others are virtual; there XDP costs more
// than it brings, or frames vanish (docs/adr/0003).
var transmits = map[string]bool{
	"bnxt_en": true, "ena": true, "fsl_dpaa2_eth": true, "fsl_enetc": true, "gve": true,
	"hv_netvsc": true, "i40e": true, "ice": true, "igb": true, "igc": true, "ixgbe": true,
	"mana": true, "mlx5_core": true, "mvneta": true, "mvpp2": true, "nfp": true, "qede": true,
	"rvu_nicpf": true, "sfc": true, "stmmac": true, "thunder-nicvf": true, "vmxnet3": true,
}

// netif is what the choice depends on.
type netif struct {
	name     string
	driver   string
	loopback bool
	ethernet bool
	// foreignXDP is the id of an XDP program that is not ours, zero for none.
	foreignXDP uint32
}

// decision is what to attach. With XDP there is TC too: XDP passes what it
// cannot transmit, and TC does the complete job.
type decision struct {
	tc, xdp bool
	// egress is for interfaces with TC, where it was asked for.
	egress bool
	reason string
}

func decide(n netif, choice Choice, filter Filter) decision {
	switch why := filter.use(n.name); {
	case n.loopback:
		return decision{reason: "left alone: loopback"}
	case why != "":
		return decision{reason: why}
	case !n.ethernet:
		return decision{reason: "left alone: not Ethernet"}
	case choice == TC:
		return decision{tc: true, reason: "asked for by --hook=tc"}
	case choice == Auto && !transmits[n.driver]:
		return decision{tc: true, reason: fmt.Sprintf("driver %s is not known to transmit from XDP; --hook=xdp tries it", n.driver)}
	case n.foreignXDP != 0:
		return decision{tc: true, reason: fmt.Sprintf("XDP program %d of somebody else is attached; detach it to use XDP", n.foreignXDP)}
	case choice == XDP:
		return decision{tc: true, xdp: true, reason: "asked for by --hook=xdp"}
	}
	return decision{tc: true, xdp: true, reason: "driver " + n.driver + " transmits from XDP"}
}
