// Package sctp has SCTP as it is used: associations with messages of many
// chunks, and single packets longer than Ethernet's, up to 9 000 bytes.
package sctp
