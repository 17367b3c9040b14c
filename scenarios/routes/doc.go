// Package routes holds BGP to what the ranks promise of service addresses: who
// announces them with which attributes, when they are withdrawn, and that the
// kernels of client and workers follow.
package routes
