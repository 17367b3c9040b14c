// Package result holds what a run of the benchmarks has measured, as it stands
// in bench/out/results.json: every sample, so that tables, plots and targets can
// be made of it later. It is pure, but for reading and writing the file.
package result

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Run is one run.
type Run struct {
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	// Took is how long it took, in seconds.
	Took float64 `json:"took"`
	// Quick says that it was a smoke test, whose figures mean little.
	Quick bool `json:"quick"`
	// Only is the expression of the rows that were asked for, empty for all.
	Only     string    `json:"only,omitempty"`
	Sections []Section `json:"sections"`
}

// Machine is what figures depend on.
type Machine struct {
	Kernel      string   `json:"kernel"`
	CPU         string   `json:"cpu"`
	CPUs        int      `json:"cpus"`
	Memory      uint64   `json:"memory"` // bytes
	Mitigations []string `json:"mitigations"`
	JIT         string   `json:"jit"`
	// Load is the load average of the last minute before and after the run.
	Load [2]float64 `json:"load"`
	// Steal is the share of CPU time that the hypervisor gave to others while it
	// ran, and Busy the share that was used by anyone; 0 to 1.
	Steal float64 `json:"steal"`
	Busy  float64 `json:"busy"`
	// Weir is the version measured; Tools are those of the others.
	Weir  string            `json:"weir"`
	Tools map[string]string `json:"tools"`
}

// Compare says how rows stand against their baseline.
type Compare string

// The comparisons.
const (
	// Multiple is the row over its baseline: 2.5 x.
	Multiple Compare = "multiple"
	// Difference is the row less its baseline: +35.
	Difference Compare = "difference"
	// Share is the row in per cent of its baseline: more is better.
	Share Compare = "share"
)

// Section is one table.
type Section struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Unit of the samples: "ns", "1/s", "Gbit/s".
	Unit    string  `json:"unit"`
	Compare Compare `json:"compare"`
	Rows    []Row   `json:"rows"`
}

// Row is one thing measured, once a round.
type Row struct {
	// Subject and Variant are its line and its column in the table.
	Subject string `json:"subject"`
	Variant string `json:"variant"`
	// Baseline is the subject that it is compared with, of the same variant or
	// else of its only one; empty for none.
	Baseline string   `json:"baseline,omitempty"`
	Samples  []Sample `json:"samples"`
}

// Sample is one measurement.
type Sample struct {
	Value float64 `json:"value"`
	// Sent and Lost count packets, or requests.
	Sent uint64 `json:"sent"`
	Lost uint64 `json:"lost"`
}

// Name is how ONLY and errors call a row of a section.
func Name(section, subject, variant string) string {
	return section + "/" + subject + "/" + variant
}

// Section returns the section of that name, nil without one.
func (r *Run) Section(name string) *Section {
	for i := range r.Sections {
		if r.Sections[i].Name == name {
			return &r.Sections[i]
		}
	}
	return nil
}

// Row returns the row of that subject and variant, nil without one.
func (s *Section) Row(subject, variant string) *Row {
	for i := range s.Rows {
		if s.Rows[i].Subject == subject && s.Rows[i].Variant == variant {
			return &s.Rows[i]
		}
	}
	return nil
}

// Base returns what row is compared with, nil for nothing.
func (s *Section) Base(row *Row) *Row {
	if row.Baseline == "" || row.Baseline == row.Subject {
		return nil
	}
	var only *Row
	for i := range s.Rows {
		if s.Rows[i].Subject != row.Baseline {
			continue
		}
		if s.Rows[i].Variant == row.Variant {
			return &s.Rows[i]
		}
		only = &s.Rows[i]
	}
	return only
}

// Load reads a run.
func Load(file string) (*Run, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read results: %w; run `make bench` first", err)
	}
	r := &Run{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read results %s: %w", file, err)
	}
	return r, nil
}

// Save writes the run.
func (r *Run) Save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
