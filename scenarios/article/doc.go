// Package article holds the founding scenario to the article, whole: what each
// command prints, where routes lead, that requests over TCP, UDP and SCTP reach
// the right pod and come back, every packet on every hop, none lost, each
// accounted for.
package article
