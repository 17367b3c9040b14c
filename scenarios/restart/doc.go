// Package restart ends weir in every way there is, under flows that stand: a
// restart that nobody notices, a drain that loses no new connection and leaves
// nothing behind.
//
// Alone: a packet counts as lost by the time that it takes.
package restart
