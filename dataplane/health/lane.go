package health

import "time"

// A host sends few ICMP errors: Linux one an interval to each destination
// (icmp_ratelimit), once a burst of six is used up. A dead UDP endpoint that
// finds none left looks alive.
const (
	icmpInterval = time.Second
	icmpBurst    = 6
)

// What of the burst probes leave. An endpoint that dies must find an error, so
// those in doubt leave one; those that are down, for which there is time, leave
// what others need to be found.
const (
	doubtLeaves = 1
	downLeaves  = 4
)

// lane keeps account of the ICMP errors that the host of endpoints has left, so
// that UDP endpoints which are dead, or may be, are asked only when their silence
// would mean something, and others that are refused by such errors leave enough
// for them. Those that are well cost nothing and never wait.
type lane struct {
	// full is when the host has its whole burst again.
	full time.Time
}

// cost is a tenth more than the interval, for the errors of others and clocks.
func cost(interval time.Duration) time.Duration { return interval * 11 / 10 }

// ready returns from when on an endpoint may be asked.
func (l *lane) ready(v verdict, interval time.Duration) time.Time {
	leaves := downLeaves
	if v.inDoubt() {
		leaves = doubtLeaves
	}
	return l.full.Add(-time.Duration(icmpBurst-leaves-1) * cost(interval))
}

// charge takes one error off the account.
func (l *lane) charge(now time.Time, interval time.Duration) {
	if l.full.Before(now) {
		l.full = now
	}
	l.full = l.full.Add(cost(interval))
}

// refund gives one back that was not needed.
func (l *lane) refund(interval time.Duration) { l.full = l.full.Add(-cost(interval)) }
