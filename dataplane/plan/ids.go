package plan

// ids hands out numbers from 1 to limit-1. Numbers given in one plan count as
// used for the rest of it.
type ids struct {
	limit int
	last  uint32
	used  func(uint32) bool
	// count is how many of the numbers are used.
	count int
	given map[uint32]bool
}

// take returns the next free number after the last one given, in a circle.
func (i *ids) take() (uint32, bool) {
	if i.count >= i.limit-1 {
		return 0, false
	}
	for {
		i.last++
		if int64(i.last) >= int64(i.limit) {
			i.last = 1
		}
		if !i.given[i.last] && !i.used(i.last) {
			i.given[i.last] = true
			i.count++
			return i.last, true
		}
	}
}

// giveBack takes back numbers of a service that was refused after all.
func (i *ids) giveBack(numbers ...uint32) {
	for _, n := range numbers {
		delete(i.given, n)
		i.count--
	}
}
