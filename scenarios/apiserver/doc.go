// Package apiserver runs kube-weir against the real kube-apiserver and etcd:
// what it writes to Services, what reaches the nodes, who leads of two, and what
// becomes of it all when the apiserver is away, or comes back empty.
package apiserver
