package agent

import (
	"math/rand/v2"
	"time"
)

// backoff doubles a pause from min to max. Each pause is drawn from its upper
// half, so that nodes which failed together do not retry together.
type backoff struct {
	min, max, current time.Duration
}

func (b *backoff) next() time.Duration {
	b.current = min(max(2*b.current, b.min), b.max)
	half := b.current / 2
	return half + rand.N(b.current-half+1)
}

func (b *backoff) reset() { b.current = 0 }
