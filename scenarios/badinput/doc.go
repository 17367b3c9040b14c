// Package badinput gives kube-weir and weir what people give them by mistake:
// each is named in a condition, a problem or an error that says what to do,
// nothing is half programmed, and all other services are served meanwhile.
package badinput
