// Package kind installs weir into a real Kubernetes cluster, made by kind out of containers, as the article does: the
// manifests of deploy/article, then the article's own commands and what they print, and a client outside with BIRD that
// is answered over TCP, UDP and SCTP. The pods are behind flannel's VXLAN, until BIRD on every node leads to them by BGP as
// Calico's does. deploy/base comes by kustomize, with TC first and native XDP then.
//
// It runs where ci/kind.sh has prepared images and a Docker daemon.
//
// Alone: four nodes take the machine for minutes.
package kind
