package packettest

import (
	"fmt"
	"testing"
	"time"

	"github.com/weir-lb/weir/bpf"
)

// What lib/limit.h promises.
const (
	sourceRate, sourceBurst = 50, 50
	totalRate, totalBurst   = 1000, 1000
)

// refilled returns how many answers a bucket may have gained since a time; the
// kernel's clock ran a little longer than ours.
func refilled(since time.Time, rate int) int {
	return int(time.Since(since).Seconds()*float64(rate)) + 1
}

// One source gets a burst of answers and then as many as the rate gives; others
// get theirs meanwhile.
func TestAnswersToOneSourceAreLimited(t *testing.T) {
	ping, closed := echoRequest("client", "vip", 56), tcpPacket("client:40000", "vip:4444", syn)
	for _, c := range []struct {
		name   string
		packet func(i int) pkt
		reason bpf.Counter
	}{
		{"pings", func(int) pkt { return ping }, bpf.DropLimited},
		{"refusals", func(i int) pkt { p := closed; p.src = ap(fmt.Sprintf("client:%d", 1000+i)); return p }, bpf.DropNoService},
		{"both", func(i int) pkt { return []pkt{ping, closed}[i%2] }, bpf.DropLimited},
	} {
		t.Run(c.name, func(t *testing.T) {
			hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
				const packets = 400
				start, sent := time.Now(), 0
				for i := range packets {
					if w.send(t, hook, "", c.packet(i)) != nil {
						sent++
					}
				}
				if most := sourceBurst + refilled(start, sourceRate); sent < sourceBurst || sent > most {
					t.Errorf("%d of %d packets were answered, want %d to %d", sent, packets, sourceBurst, most)
				}
				if w.counter(t, hook, c.reason) == 0 {
					t.Errorf("nothing counted as %s", c.reason)
				}
				if w.send(t, hook, "", echoRequest("client2", "vip", 56)) == nil {
					t.Error("another source gets no answer")
				}
				w.audit(t, hook, packets+1)
			})
		})
	}
}

// All sources together get no more than the whole node may send. No flow is made
// of what is refused.
func TestAllAnswersAreLimited(t *testing.T) {
	hooks(t, func(t *testing.T, w *world, hook bpf.Hook) {
		const packets = 3000
		start, sent := time.Now(), 0
		for i := range packets {
			if w.send(t, hook, "", tcpPacket(fmt.Sprintf("198.18.%d.%d:7", i/250, 1+i%250), "vip:4444", syn)) != nil {
				sent++
			}
		}
		if most := totalBurst + refilled(start, totalRate); sent < totalBurst*9/10 || sent > most {
			t.Errorf("%d of %d packets were answered, want %d to %d", sent, packets, totalBurst*9/10, most)
		}
		if n := w.counter(t, hook, bpf.CounterAnswered); n != uint64(sent) {
			t.Errorf("counted %d answered, sent %d", n, sent)
		}
		if lines, _, _, err := w.entries(); len(lines) != 0 || err != nil {
			t.Errorf("refusals have left %d flow entries, %v", len(lines), err)
		}
		w.audit(t, hook, packets)
	})
}
