//go:build !race

package health

// racing says that this program has the race detector.
const racing = false
