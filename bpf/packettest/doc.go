// Package packettest runs tables of packets through the eBPF programs.
//
// A row is a sentence, the state of the maps, a packet in, and what must become
// of it: verdict, packet out byte for byte, counters, flow entries. Each row runs
// for XDP and for TC through BPF_PROG_TEST_RUN inside a network namespace with
// real devices, routes and neighbours, so that the FIB answers as it does in
// production. Expected packets are built anew by gopacket, which computes every
// checksum over the whole packet: nothing of the programs' own arithmetic is used.
package packettest

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -target bpfel bench bench.bpf.c
