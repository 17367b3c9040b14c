package result

import (
	"math"
	"slices"
)

// Stats is what is told of samples. All NaN without any.
type Stats struct {
	Median, Min, Max float64
	// Low and High are the quartiles: half of the samples lie between them.
	Low, High float64
}

// Of computes the statistics of values.
func Of(values []float64) Stats {
	if len(values) == 0 {
		nan := math.NaN()
		return Stats{nan, nan, nan, nan, nan}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Stats{
		Median: quantile(sorted, 0.5), Min: sorted[0], Max: sorted[len(sorted)-1],
		Low: quantile(sorted, 0.25), High: quantile(sorted, 0.75),
	}
}

// quantile lies linearly between the two nearest samples.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Values returns the samples' values, in the order of the rounds.
func (r *Row) Values() []float64 {
	values := make([]float64, 0, len(r.Samples))
	for _, s := range r.Samples {
		values = append(values, s.Value)
	}
	return values
}

// Lost returns how many of Sent were lost in all rounds.
func (r *Row) Lost() (lost, sent uint64) {
	for _, s := range r.Samples {
		lost, sent = lost+s.Lost, sent+s.Sent
	}
	return lost, sent
}

// Pairs compares each sample with the baseline's of the same round: what slows the
// machine for a while slows both, and falls out.
func Pairs(c Compare, row, base *Row) []float64 {
	var values []float64
	for i := range min(len(row.Samples), len(base.Samples)) {
		a, b := row.Samples[i].Value, base.Samples[i].Value
		switch {
		case c == Difference:
			values = append(values, a-b)
		case b == 0:
		case c == Share:
			values = append(values, 100*a/b)
		default:
			values = append(values, a/b)
		}
	}
	return values
}
