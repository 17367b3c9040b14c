// Package weights counts who answers: backends of weight 1, 2 and 5 get their
// shares of the new flows.
package weights
