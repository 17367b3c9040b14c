package main

import "runtime/debug"

// stamp is the version that the linker sets (-X main.stamp=...).
var stamp string

// version is the linker's stamp, else what the go command recorded.
func version() string {
	if stamp != "" {
		return stamp
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
