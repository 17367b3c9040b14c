// Package decide turns a cluster's snapshot into what every node must do:
// addresses, services with backends, ranks and the BGP mesh; and into what a
// person wants to know of each service.
//
// It is pure: no clock, no I/O, no log. The same snapshot, configuration and
// memory give the same decision, whatever the order of the objects.
package decide
