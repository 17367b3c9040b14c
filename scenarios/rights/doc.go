// Package rights plays the article with the capabilities that deploy/base gives
// to weir's containers, and with one less: what cannot be done then, and what a
// person is told.
package rights
