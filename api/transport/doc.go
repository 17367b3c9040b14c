// Package transport holds both ends of the wire that weir's programs talk
// over: a unix socket that only root and its group may use, and TLS 1.3 with
// certificates on both sides; and how an API is served on both. Values are safe for concurrent use.
package transport
