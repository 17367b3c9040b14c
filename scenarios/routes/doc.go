// Package routes holds BGP to what DESIGN.md 6 says of service addresses: who
// announces them with which attributes, when they are withdrawn, and that the
// kernels of client and workers follow.
package routes
