// Package agent is the node: it stores what each owner wants of it (Store),
// merges the owners into one desired state, and drives a dataplane and a BGP
// speaker towards it (Node). Package agent/api serves it over HTTP.
//
//	PUT -> Store.Put -> Merge (pure) -> Node's loop -> Dataplane.Apply
//	                                                -> Speaker.Apply
//	GET <- Node.Observed <- Dataplane.Services, Speaker.Status
package agent
