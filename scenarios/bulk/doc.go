// Package bulk moves 100 MB through weir and back under the offloads that the
// kernel sets by itself: frames of up to 64 KiB whose checksums are open (GSO,
// CHECKSUM_PARTIAL) at the TC hook; at native XDP, which knows neither, with
// receive merging on and transmit checksums off.
//
// Alone: how fast a transfer is decides which frames the kernel merges.
package bulk
