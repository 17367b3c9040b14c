// Package static is a controller.Source that reads a cluster from a folder of
// manifests: Service, EndpointSlice and Node, one or many to a file, as
// `kubectl get -o yaml` prints them or as a person writes them. Other kinds
// are skipped, so that an application's whole folder can be given.
//
// The folder is read again when it changes. Nothing is lost on bad input: a
// document that cannot be understood is a Problem with file, line and field,
// the others count at once, and what its file said last stands until it is
// mended.
package static
