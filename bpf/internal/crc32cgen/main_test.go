package main

import (
	"hash/crc32"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/weir-lb/weir/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// change is lib/crc32c.h in Go.
func change(table *Table, bits uint32, words int) uint32 {
	for position := range table {
		digit := words >> (6 * position) & 63
		var sum uint32
		for place := range 8 {
			sum ^= table[position][digit][place][bits>>(4*place)&15]
		}
		bits = sum
	}
	return bits
}

// Flipping bits in the first word of a packet must flip in its CRC, computed by
// the standard library over all of it, what the tables say.
func TestTablesAgreeWithFullComputation(t *testing.T) {
	table := tables()
	random := rand.New(rand.NewPCG(1, 2))
	castagnoliTable := crc32.MakeTable(crc32.Castagnoli)
	lengths := []int{1, 2, 3, 63, 64, 65, 2250, 4095, 4096, 4097, 16383, 262143}
	for range 200 {
		lengths = append(lengths, 1+random.IntN(16383))
	}
	for _, words := range lengths {
		packet := make([]byte, 4*words)
		for i := range packet {
			packet[i] = byte(random.Uint32())
		}
		before := crc32.Checksum(packet, castagnoliTable)
		bits := random.Uint32()
		for i := range 4 {
			packet[i] ^= byte(bits >> (8 * i))
		}
		after := crc32.Checksum(packet, castagnoliTable)
		if got := before ^ change(table, bits, words); got != after {
			t.Fatalf("%d words, bits %#x: CRC %#x changed to %#x, want %#x",
				words, bits, before, got, after)
		}
	}
}

func TestHeaderIsGenerated(t *testing.T) {
	committed, err := os.ReadFile("../../lib/crc32c_table.h")
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != string(header(tables())) {
		t.Fatal("lib/crc32c_table.h is not what crc32cgen writes; run go generate ./bpf")
	}
}
