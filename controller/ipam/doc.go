// Package ipam gives service addresses to services.
//
// It is pure: pools and requests go in, assignments come out, and nothing is
// remembered between two calls. What a service holds is part of its request,
// so the same requests in any order, before or after a restart, give the same
// addresses. Several services share one address where their ports differ, as
// the article's three do on 123.123.123.1. A service may have an address of each
// family.
package ipam
