// Package load sends a thousand requests of each protocol, 64 at a time, and
// misses none.
//
// Alone: a thousand requests at once need the machine.
package load
