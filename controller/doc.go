// Package controller holds what the parts of the controller share: the
// Snapshot of a cluster, the Config that flags make, and the Memory that
// survives a restart.
//
//	static (manifests) -> Update -> decide + ipam (pure) -> Decision -> push -> nodes
//	                                   ^      |
//	                                   Memory <
//
// loop runs the arrows. Nothing here does I/O.
package controller
