// Package version tells which build of weir a program is.
package version

import "runtime/debug"

// stamp is what the linker sets (-X, see ci/build.sh).
var stamp string

// String is the linker's stamp, else what the go command recorded.
func String() string {
	if stamp != "" {
		return stamp
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
