// Package lab makes a Kubernetes cluster of containers with kind, installs weir into it as the article does, and puts a
// client with BIRD beside it: two masters, two workers, and a router outside.
//
// Everything is done through docker's and kubectl's own command lines, kubectl's inside a node, so that what a spec says
// is what a person types. Names of a cluster's containers and of its network begin with the cluster's, so that several
// stand beside each other.
package lab
