package link

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-lb/weir/topo/netns"
)

// Sysctl sets a net. setting in the namespace. Dots part the name unless it
// has a slash, as sysctl(8) reads it: interface names may have dots.
func Sysctl(ns *netns.NetNS, name, value string) error {
	path := name
	if !strings.Contains(name, "/") {
		path = strings.ReplaceAll(name, ".", "/")
	}
	return ns.Do(func() error {
		// /proc/sys/net shows the namespace of the thread that opens it.
		if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl %s=%s in %s: %w", name, value, ns.Name(), err)
		}
		return nil
	})
}
