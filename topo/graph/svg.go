package graph

import (
	"fmt"
	"html"
	"strings"

	"github.com/weir-lb/weir/topo/spec"
)

// Sizes in SVG user units, which browsers show as pixels.
const (
	charWidth  = 7.3
	titleWidth = 9.4 // a character of the title
	lineHeight = 17
	padding    = 10
	gap        = 34
	netHeight  = 46
	maxText    = 32 // characters
)

// box is a machine in the picture.
type box struct {
	name       string
	lines      []string
	x, y, w, h float64
}

func (b *box) centre() float64 { return b.x + b.w/2 }

// picture places boxes: clients on top, then networks as bars, then the
// machines on them, then the pods under their workers.
type picture struct {
	page   *spec.Page
	boxes  map[string]*box
	bars   map[string]float64 // y of each network
	width  float64
	height float64
	out    strings.Builder
}

// SVG draws the page as an SVG document.
func SVG(p *spec.Page) string {
	pic := &picture{page: p, boxes: map[string]*box{}, bars: map[string]float64{}}
	pic.place()
	pic.draw()
	return pic.out.String()
}

// place lays the rows out from top to bottom.
func (p *picture) place() {
	y := 54.0
	var clients, machines, pods, nets []string
	for _, name := range p.page.Order {
		switch p.page.Nodes[name].Role {
		case spec.Client:
			clients = append(clients, name)
		case spec.Switch:
			nets = append(nets, name)
		case spec.Pod:
			pods = append(pods, name)
		default:
			machines = append(machines, name)
		}
	}
	y = p.row(clients, y)
	for _, n := range nets {
		p.bars[n] = y + netHeight/2
		y += netHeight
	}
	if len(nets) == 0 {
		y += gap
	}
	for _, group := range p.rows(machines) {
		y = p.row(group, y+gap/2)
	}
	if len(pods) > 0 {
		y = p.row(pods, y+gap/2)
	}
	p.height = y + padding
	p.width = float64(len([]rune(p.title())))*titleWidth + 2*padding
	for _, b := range p.boxes {
		p.width = max(p.width, b.x+b.w+padding)
	}
	p.centreRows()
}

// rows parts the machines so that no cable runs behind a box: beside each
// other under the networks, or, where there is no network, load balancers
// above the rest.
func (p *picture) rows(names []string) [][]string {
	if len(p.bars) > 0 {
		return [][]string{names}
	}
	var above, below []string
	for _, n := range names {
		if p.page.Nodes[n].Role == spec.Worker {
			below = append(below, n)
		} else {
			above = append(above, n)
		}
	}
	return [][]string{above, below}
}

// row puts boxes beside each other and returns the y below them.
func (p *picture) row(names []string, y float64) float64 {
	x, bottom := float64(padding), y
	for _, name := range names {
		b := p.box(name)
		b.x, b.y = x, y
		x += b.w + gap
		bottom = max(bottom, y+b.h)
		p.boxes[name] = b
	}
	return bottom + gap/2
}

// centreRows moves each row to the middle of the widest.
func (p *picture) centreRows() {
	right := map[float64]float64{}
	for _, b := range p.boxes {
		right[b.y] = max(right[b.y], b.x+b.w+padding)
	}
	for _, b := range p.boxes {
		b.x += (p.width - right[b.y]) / 2
	}
}

// box makes the box of a node with its text.
func (p *picture) box(name string) *box {
	n := p.page.Nodes[name]
	b := &box{name: name, lines: []string{name + "  (" + string(n.Role) + ")"}}
	for _, l := range p.page.Links {
		for _, e := range l.Endpoints {
			if a := addresses(p.page, e); e.Node == name && len(a) > 0 {
				b.lines = append(b.lines, e.Interface+"  "+strings.Join(a, " "))
			}
		}
	}
	for _, part := range inside(n) {
		if len(part) > maxText {
			part = part[:maxText-1] + "…"
		}
		b.lines = append(b.lines, part)
	}
	for _, l := range b.lines {
		b.w = max(b.w, float64(len([]rune(l)))*charWidth+2*padding)
	}
	b.h = float64(len(b.lines))*lineHeight + padding
	return b
}

const style = `<style>
text { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1c2733 }
.title { font-size: 15px; font-weight: bold }
.name { font-weight: bold }
.net { stroke: #3a6ea5; stroke-width: 7; stroke-linecap: round }
.link { stroke: #7a8794; stroke-width: 1.6; fill: none }
rect { stroke: #44525f; rx: 5 }
.client { fill: #fdf3d8 } .lb { fill: #d9ecd9 } .worker { fill: #dde8f5 }
.pod { fill: #f3e3f0 } .router { fill: #eeeeee }
</style>
`

func (p *picture) draw() {
	fmt.Fprintf(&p.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f">`+"\n",
		p.width, p.height, p.width, p.height)
	p.out.WriteString(style)
	fmt.Fprintf(&p.out, `<rect width="100%%" height="100%%" fill="#ffffff" stroke="none"/>`+"\n")
	fmt.Fprintf(&p.out, `<text class="title" x="%d" y="28">%s</text>`+"\n", padding, html.EscapeString(p.title()))
	for _, l := range p.page.Links {
		p.link(l)
	}
	for _, name := range p.page.Order {
		if y, ok := p.bars[name]; ok {
			fmt.Fprintf(&p.out, `<line class="net" x1="%d" y1="%.0f" x2="%.0f" y2="%.0f"/>`+"\n", 2*padding, y, p.width-2*padding, y)
			fmt.Fprintf(&p.out, `<text class="name" x="%d" y="%.0f">%s</text>`+"\n", 2*padding, y-8, html.EscapeString(name))
		}
	}
	for _, name := range p.page.Order {
		if b := p.boxes[name]; b != nil {
			p.machine(b)
		}
	}
	p.out.WriteString("</svg>\n")
}

func (p *picture) title() string { return p.page.Name + ": " + p.page.Title }

func (p *picture) machine(b *box) {
	fmt.Fprintf(&p.out, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`+"\n",
		p.page.Nodes[b.name].Role, b.x, b.y, b.w, b.h)
	for i, l := range b.lines {
		class := ""
		if i == 0 {
			class = ` class="name"`
		}
		fmt.Fprintf(&p.out, `<text%s x="%.1f" y="%.1f">%s</text>`+"\n", class, b.x+padding, b.y+float64(i+1)*lineHeight, html.EscapeString(l))
	}
}

// link draws a cable: between two machines, or from one to a network's bar.
func (p *picture) link(l spec.Link) {
	a, b := l.Endpoints[0], l.Endpoints[1]
	if _, ok := p.bars[a.Node]; ok {
		a, b = b, a
	}
	from := p.boxes[a.Node]
	if from == nil {
		return // between two switches: the bars are beside each other
	}
	if y, ok := p.bars[b.Node]; ok {
		// Links to several networks leave the box side by side.
		x := from.centre() + p.offset(a)
		edge := from.y
		if from.y < y {
			edge = from.y + from.h
		}
		fmt.Fprintf(&p.out, `<line class="link" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", x, edge, x, y)
		return
	}
	to := p.boxes[b.Node]
	if from.y > to.y {
		from, to = to, from
	}
	if from.y == to.y {
		y := from.y + from.h/2
		fmt.Fprintf(&p.out, `<line class="link" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", from.centre(), y, to.centre(), y)
		return
	}
	fmt.Fprintf(&p.out, `<line class="link" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", from.centre(), from.y+from.h, to.centre(), to.y)
}

// offset spreads the links of one machine to networks around its centre.
func (p *picture) offset(e spec.Endpoint) float64 {
	var mine []string
	for _, l := range p.page.Links {
		for i, end := range l.Endpoints {
			if _, net := p.bars[l.Endpoints[1-i].Node]; net && end.Node == e.Node {
				mine = append(mine, end.Interface)
			}
		}
	}
	for i, name := range mine {
		if name == e.Interface {
			return (float64(i) - float64(len(mine)-1)/2) * 44
		}
	}
	return 0
}
