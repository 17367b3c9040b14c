// Package pki decides what the certificates are by which kube-weir and the
// nodes know each other, and when they are made anew: an authority, one
// certificate for the API of all nodes, one for the controller. It reads and
// writes nothing; controller/k8s keeps what it returns in Secrets.
//
//	authority   tls.crt, tls.key    signs
//	            next.crt, next.key  will sign when all nodes trust it
//	            ca.crt              all that are trusted: both, and those before until they end
//	nodes       tls.crt, tls.key, ca.crt
//	controller  tls.crt, tls.key, ca.crt
//
// Whatever is two thirds over is made anew. A new authority is trusted before
// it signs, and the one before is trusted until it ends, so that a node that
// reads its files late still knows the controller, and is known. Keys are ECDSA
// P-256.
package pki
