// Package bpf holds the dataplane's eBPF programs: the C sources, the objects
// compiled from them with clang 19.1.7 and the Go types of their maps.
//
// The programs of all objects share their maps by name. Objects and types are
// committed, so building Go needs no clang; `go generate` makes them anew, byte
// for byte the same in any folder.
package bpf

//go:generate go run ./internal/crc32cgen lib/crc32c_table.h
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I. -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -target bpfel -type clock tc weir_tc.bpf.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I. -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -target bpfel -no-global-types xdp weir_xdp.bpf.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I. -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" -target bpfel -no-global-types egress weir_egress.bpf.c
