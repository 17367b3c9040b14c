// Package manifests holds deploy to what it promises: deploy/base is what
// kubectl apply -k takes, the Helm chart renders to the same objects, the pods
// have no more rights than they need, and deploy/article and deploy/vagrant are
// the article's but for what has to differ. It is a module of its own, because
// kustomize and Helm bring two hundred others.
package manifests
