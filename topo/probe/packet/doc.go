// Package packet crafts, takes apart and checks single Ethernet frames, for scenarios in which exact bytes matter.
//
// Frames are IPv4 over Ethernet (802.1Q tags are skipped when reading). Checksums are verified by this package's own
// arithmetic over the bytes: gopacket, which lays out headers here, never judges them, so that an error in a library
// cannot hide an error of the load balancer.
package packet
