// Package nat looks at every byte of every packet on both sides of weir, in all
// modes, protocols and hooks: addresses and ports are those of the mode, the TTL
// falls by one, every checksum is right when computed anew, all else is as it was.
package nat
