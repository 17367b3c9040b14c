// Package flood sends a million SYNs from forged addresses, a quarter of them
// answered at XDP in mode default, all of them at TC in fullnat, beside clients that
// do real work; and fills the table of established flows to its end.
//
// Alone: a flood takes all the speed there is.
package flood
