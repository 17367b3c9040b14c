// Package push brings every node the state that was decided for it and keeps
// it there: one goroutine a node, a whole state at a time or what changed since
// the last one, again with growing pauses while a node does not answer, and again when a node lost it.
// Now and then it asks the load balancer nodes how their services fare.
package push
