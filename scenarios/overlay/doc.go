// Package overlay has endpoints that are pod addresses behind a VXLAN: every
// protocol and mode, bulk TCP, long datagrams, every offload, workers that
// filter reverse paths strictly, and what weirctl doctor says of all that.
package overlay
