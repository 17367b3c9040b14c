// Package failover cuts the active master off, in the middle of its work: new
// connections go on by the standby within the BGP hold time, with the
// controller or without it.
package failover
