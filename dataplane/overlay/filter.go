package overlay

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Values of rp_filter (Documentation/networking/ip-sysctl.rst). The larger of
// "all" and the device's own is in force.
const (
	strict = 1 // the source must be behind the device that it came by
	loose  = 2 // the source must be behind any device
)

// Filter is a device's reverse path filter.
type Filter struct {
	// Own is the device's own setting, All that of all devices.
	Own, All int
}

// Effective is the setting in force.
func (f Filter) Effective() int { return max(f.Own, f.All) }

// Strict tells whether answers that come back another way are lost.
func (f Filter) Strict() bool { return f.Effective() == strict }

// ReadFilter reads the filter of a device in the caller's network namespace.
func ReadFilter(device string) (Filter, error) {
	var f Filter
	var err error
	if f.All, err = readSetting("all"); err != nil {
		return Filter{}, err
	}
	if f.Own, err = readSetting(device); err != nil {
		return Filter{}, err
	}
	return f, nil
}

func readSetting(device string) (int, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", device, "rp_filter"))
	if err != nil {
		return 0, fmt.Errorf("read reverse path filter: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("read reverse path filter of %s: %w", device, err)
	}
	return n, nil
}

// devconfRPFilter is IPV4_DEVCONF_RP_FILTER of linux/ip.h, inetConf is
// IFLA_INET_CONF of linux/if_link.h.
const (
	devconfRPFilter = 8
	inetConf        = 1
)

// setFilter writes a device's own setting. It goes by rtnetlink, because a
// container finds /proc/sys read only, even one with CAP_NET_ADMIN.
func setFilter(index, value int) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	request.AddData(header)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(inetConf, nil)
	conf.AddRtAttr(devconfRPFilter, binary.NativeEndian.AppendUint32(nil, uint32(value)))
	request.AddData(spec)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set reverse path filter: %w", err)
	}
	return nil
}
