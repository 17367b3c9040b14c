package health

import "container/heap"

// queue orders endpoints by when they are due. It implements heap.Interface.
type queue []*endpoint

// absent is the position of an endpoint that is in no queue: it is being
// probed, or nobody watches it any more.
const absent = -1

func (q queue) Len() int { return len(q) }

// Less lets go first, of those due at one time, who has waited longest.
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].wanted.Before(q[j].wanted)
	}
	return q[i].due.Before(q[j].due)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].position, q[j].position = i, j
}

// Push is heap.Push's; use add.
func (q *queue) Push(x any) {
	e := x.(*endpoint)
	e.position = len(*q)
	*q = append(*q, e)
}

// Pop is heap.Pop's; use take.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.position = absent
	return e
}

func (q *queue) add(e *endpoint) { heap.Push(q, e) }

func (q *queue) take() *endpoint { return heap.Pop(q).(*endpoint) }

// remove takes e out; an absent one is success.
func (q *queue) remove(e *endpoint) {
	if e.position != absent {
		heap.Remove(q, e.position)
	}
}
