// Package health holds probes to a network: a server, a cable or weir itself
// dies, and new flows go where somebody lives.
package health
