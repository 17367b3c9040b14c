package doctor

// lacks reports what is missing of one kind. It is only known to matter where
// weir balances: a peer needs none of it, and where weir does not run nobody
// knows what it is to be.
func lacks(c *check, f Facts) {
	if f.peer() {
		return
	}
	for _, l := range f.Lacking {
		if l.Of != c.name {
			continue
		}
		if f.Observed == nil {
			c.warn(l.Do, "%s (a load balancer node needs it, a peer does not)", l.Seen)
			continue
		}
		c.fail(l.Do, "%s", l.Seen)
	}
}

func kernel(c *check, f Facts) {
	lacks(c, f)
	if f.peer() {
		c.otherwise("Linux %s, a peer needs nothing special of it", f.Kernel)
		return
	}
	c.otherwise("Linux %s has all that is used", f.Kernel)
}

// rights are those of whoever runs the examination; weir has its own, and does
// not run without them.
func rights(c *check, f Facts) {
	for _, u := range f.Unseen {
		c.warn("run it as root, in weir's pod or on the node", "not everything can be looked at: %s", u)
	}
	switch {
	case f.Observed != nil:
		c.otherwise("weir runs, so it has its rights")
	default:
		lacks(c, f)
		c.otherwise("CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON are there")
	}
}

func forwarding(c *check, f Facts) {
	if !f.Forwarding {
		c.fail("run sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d", "IPv4 is not forwarded: no packet reaches a pod")
	}
	c.otherwise("IPv4 is forwarded")
}

func clock(c *check, f Facts) {
	if !f.ClockSynchronised {
		c.warn("run chronyd, systemd-timesyncd or the like", "nothing keeps the clock right: certificates may seem expired, and logs of two nodes do not fit together")
	}
	c.otherwise("the clock is kept right")
}
