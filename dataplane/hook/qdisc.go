package hook

import (
	"slices"

	"github.com/cilium/ebpf"

	"github.com/weir-lb/weir/dataplane/pin"
)

// qdiscs remembers which clsact qdiscs are ours: the filters of both sides of an
// interface hang on one. With pins that outlives the process. The zero value
// knows none.
type qdiscs struct {
	pins *pin.Folder // may be nil
	made map[int]bool
}

// mark says that the qdisc of an interface is ours; p is any program.
func (q *qdiscs) mark(index int, p *ebpf.Program) error {
	if q.pins != nil {
		return q.pins.Mark(pinName(pinQdisc, index), p)
	}
	if q.made == nil {
		q.made = map[int]bool{}
	}
	q.made[index] = true
	return nil
}

func (q *qdiscs) marked(index int) (bool, error) {
	if q.pins == nil {
		return q.made[index], nil
	}
	names, err := q.pins.Names()
	return slices.Contains(names, pinName(pinQdisc, index)), err
}

func (q *qdiscs) unmark(index int) error {
	delete(q.made, index)
	if q.pins == nil {
		return nil
	}
	return q.pins.Unpin(pinName(pinQdisc, index))
}
