package health

// verdict is what the results so far say of an endpoint. The zero verdict
// takes it for healthy: the controller named it because it is ready, and a
// restart of this process must not take every backend out.
type verdict struct {
	down bool
	// against counts the results in a row that contradict down.
	against int
}

// after returns the verdict when one more result is known.
func (v verdict) after(healthy bool, retries int) verdict {
	if healthy != v.down {
		return verdict{down: v.down}
	}
	needed := retries + 1
	if v.down {
		needed = rise
	}
	if v.against+1 >= needed {
		return verdict{down: !v.down}
	}
	return verdict{down: v.down, against: v.against + 1}
}

// inDoubt says that the last result was against the verdict.
func (v verdict) inDoubt() bool { return v.against > 0 }
