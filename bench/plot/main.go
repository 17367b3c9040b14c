// plot draws the benchmarks' results: plot RESULTS.csv FOLDER makes an SVG for each section and variant. It is a module
// of its own, so that what it needs stays out of weir's go.mod.
package main

import (
	"encoding/csv"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: plot RESULTS.csv FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	charts, err := read(from)
	if err != nil {
		return err
	}
	for _, c := range charts {
		file := filepath.Join(to, c.section+"-"+c.variant+".svg")
		if err := c.draw(file); err != nil {
			return fmt.Errorf("draw %s: %w", file, err)
		}
	}
	return nil
}

// chart is a section's rows of one variant.
type chart struct {
	section, title, unit, variant string
	bars                          []bar
}

// bar is a row: its median, and the quartiles as a whisker.
type bar struct {
	subject           string
	median, low, high float64
}

// The columns of results.csv.
const (
	colSection = iota
	colTitle
	colUnit
	colSubject
	colVariant
	colMedian
	colLow
	colHigh
	columns
)

// read returns the charts in the order of the file.
func read(file string) ([]*chart, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read results: %w; run `make bench` first", err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read results %s: %w", file, err)
	}
	var charts []*chart
	known := map[string]*chart{}
	for _, line := range lines[1:] {
		if len(line) < columns {
			return nil, fmt.Errorf("read results %s: a line has %d columns", file, len(line))
		}
		key := line[colSection] + "/" + line[colVariant]
		c := known[key]
		if c == nil {
			c = &chart{section: line[colSection], title: line[colTitle], unit: line[colUnit], variant: line[colVariant]}
			known[key] = c
			charts = append(charts, c)
		}
		b := bar{subject: line[colSubject]}
		for into, col := range map[*float64]int{&b.median: colMedian, &b.low: colLow, &b.high: colHigh} {
			if *into, err = strconv.ParseFloat(line[col], 64); err != nil {
				return nil, fmt.Errorf("read results %s: %w", file, err)
			}
		}
		c.bars = append(c.bars, b)
	}
	return charts, nil
}

const barWidth = 12 // points

var (
	ours   = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb4, A: 0xff}
	others = color.RGBA{R: 0xb0, G: 0xb8, B: 0xc0, A: 0xff}
)

// draw writes a chart of horizontal bars, the first row on top.
func (c *chart) draw(file string) error {
	p := plot.New()
	p.Title.Text = c.title + ": " + c.variant
	p.X.Label.Text = c.unit + ", median and quartiles"
	p.X.Min = 0
	names := make([]string, len(c.bars))
	whiskers := &ranges{}
	for i, b := range c.bars {
		at := float64(len(c.bars) - 1 - i)
		names[len(c.bars)-1-i] = b.subject
		one, err := plotter.NewBarChart(plotter.Values{b.median}, vg.Points(barWidth))
		if err != nil {
			return err
		}
		one.Horizontal, one.XMin, one.LineStyle.Width, one.Color = true, at, 0, others
		if isWeir(c.section, b.subject) {
			one.Color = ours
		}
		p.Add(one)
		whiskers.XYs = append(whiskers.XYs, plotter.XY{X: b.median, Y: at})
		whiskers.XErrors = append(whiskers.XErrors, struct{ Low, High float64 }{b.median - b.low, b.high - b.median})
	}
	bars, err := plotter.NewXErrorBars(whiskers)
	if err != nil {
		return err
	}
	p.Add(bars)
	p.NominalY(names...)
	return p.Save(22*vg.Centimeter, vg.Points(float64(70+len(c.bars)*(barWidth+8))), file)
}

// ranges are points with their whiskers.
type ranges struct {
	plotter.XYs
	plotter.XErrors
}

// isWeir tells weir's rows from those that it is compared with.
func isWeir(section, subject string) bool {
	if section == "testrun" {
		return subject != "xdp floor" && subject != "tc floor"
	}
	return len(subject) > 4 && subject[:4] == "weir"
}
