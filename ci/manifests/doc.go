// Package manifests holds deploy to what it promises: deploy/base is what
// kubectl apply -k takes, the Helm chart renders to the same objects, and the
// pods have no more rights than they need. It is a module of its own, because
// kustomize and Helm bring two hundred others.
package manifests
