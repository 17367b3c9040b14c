package flow

import "time"

const (
	// crowdedAt and fullAt are shares of the flow table in percent. Between them
	// closed connections make room: they wait less, the fuller it is. At the
	// first the alarm comes (fillAlarm); what is above the second is for what
	// comes until the next sweep.
	crowdedAt = fillAlarm
	fullAt    = 95
	// hurriedClosing is how long a closed connection waits in a table that is
	// full: for the last ACK, repeated after 1 s (RFC 6298, 2.1). conntrack has 10 s
	// (nf_conntrack_tcp_timeout_close). What comes later is dropped.
	hurriedClosing = 2 * time.Second

	// lazily and hurriedly are between two sweeps. A walk over a million flows
	// takes about half a second of one CPU, and rests for twice as long.
	lazily, hurriedly = 10 * time.Second, time.Second
)

// closedFor returns how long a closed connection may wait at most, with so many
// entries in a table: 60 s up to crowdedAt, from there on linearly less, and
// 2 s from fullAt on.
func closedFor(entries, capacity uint32) time.Duration {
	from, to := share(capacity, crowdedAt), share(capacity, fullAt)
	switch {
	case entries <= from:
		return tcpClosing
	case entries >= to:
		return hurriedClosing
	}
	return tcpClosing - (tcpClosing-hurriedClosing)*time.Duration(entries-from)/time.Duration(to-from)
}

func share(capacity uint32, percent uint64) uint32 { return uint32(uint64(capacity) * percent / 100) }

// Pace says when to sweep next: at the latest when half of the room that is left
// below fullAt will be used, if flows go on coming as they came. The zero value
// is ready. It is for one goroutine.
type Pace struct {
	left  uint32
	swept time.Time
}

// Next takes what a sweep that began at now has found in a table of such a capacity
// and left there, and returns how long to wait until the next one.
func (p *Pace) Next(now time.Time, s Swept, capacity uint32) time.Duration {
	since, came := now.Sub(p.swept), int64(s.Found)-int64(p.left)
	first := p.swept.IsZero()
	p.left, p.swept = s.Established, now
	room := int64(share(capacity, fullAt)) - int64(s.Established)
	switch {
	case room <= 0:
		return hurriedly
	case first || came <= 0:
		return lazily
	}
	until := time.Duration(float64(since) * float64(room) / float64(came) / 2)
	return min(max(until, hurriedly), lazily)
}
