// Package graph draws a topology: as text for a terminal, as SVG for a page.
// It is pure: the same page gives the same picture.
package graph

import (
	"fmt"
	"strings"

	"github.com/weir-lb/weir/topo/spec"
)

// ASCII draws the networks as double lines, each with the machines on it
// below, then the cables between machines, then what is in each machine. A
// machine on a network takes some 19 columns.
func ASCII(p *spec.Page) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", p.Name, p.Title)
	for _, name := range p.Order {
		if p.Nodes[name].Role == spec.Switch {
			drawSwitch(&b, p, name)
		}
	}
	drawCables(&b, p)
	drawMachines(&b, p)
	return b.String()
}

// drawSwitch draws one network and what hangs on it:
//
//	==+=========+====== sw80
//	  |         |
//	client    master1
//	eth1      eth1
//	.80.1/24  .80.10/24
func drawSwitch(b *strings.Builder, p *spec.Page, name string) {
	ends := neighbours(p, name)
	columns := make([][]string, len(ends))
	width := 4
	for i, e := range ends {
		columns[i] = append([]string{"|", e.Node, e.Interface}, addresses(p, e)...)
		for _, cell := range columns[i] {
			width = max(width, len(cell)+2)
		}
	}
	bar := ""
	for range ends {
		bar += "==+" + strings.Repeat("=", width-3)
	}
	fmt.Fprintf(b, "\n%s== %s\n", bar, name)
	for row := 0; ; row++ {
		line, some := "", false
		for _, c := range columns {
			cell := ""
			if row < len(c) {
				cell, some = c[row], true
			}
			line += fmt.Sprintf("%-*s", width, "  "+cell)
		}
		if !some {
			return
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// drawCables lists the links that end at no switch.
func drawCables(b *strings.Builder, p *spec.Page) {
	var lines [][2]string
	width := 0
	for _, l := range p.Links {
		x, y := l.Endpoints[0], l.Endpoints[1]
		if p.Nodes[x.Node].Role == spec.Switch || p.Nodes[y.Node].Role == spec.Switch {
			continue
		}
		left := label(p, x)
		width = max(width, len(left))
		lines = append(lines, [2]string{left, label(p, y)})
	}
	if len(lines) > 0 {
		b.WriteString("\n")
	}
	for _, l := range lines {
		fmt.Fprintf(b, "  %-*s ---- %s\n", width, l[0], l[1])
	}
}

// drawMachines lists the nodes with their role, own devices and processes.
func drawMachines(b *strings.Builder, p *spec.Page) {
	b.WriteString("\n")
	width := 0
	for _, name := range p.Order {
		width = max(width, len(name))
	}
	for _, name := range p.Order {
		n := p.Nodes[name]
		if n.Role == spec.Switch {
			continue
		}
		line := fmt.Sprintf("  %-*s  %-6s  %s", width, name, n.Role, strings.Join(inside(n), "; "))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if p.KubeProxy == nil {
		return
	}
	fmt.Fprintf(b, "\n  NodePorts on %s:\n", strings.Join(p.KubeProxy.Nodes, ", "))
	for _, s := range p.KubeProxy.Services {
		fmt.Fprintf(b, "    %d/%s -> %v %s (%s)\n", s.NodePort, s.Protocol, s.Endpoints, s.Name, s.Policy)
	}
}

// inside tells what a node has beside its links: bridges, overlays, programs.
func inside(n *spec.Node) []string {
	var parts []string
	for _, name := range n.InterfaceNames() {
		i := n.Interfaces[name]
		switch {
		case i.Bridge != nil:
			parts = append(parts, fmt.Sprintf("bridge %s%s over %s", name, list(i), strings.Join(i.Bridge, " ")))
		case i.VXLAN != nil:
			parts = append(parts, fmt.Sprintf("vxlan %s%s id %d", name, list(i), i.VXLAN.ID))
		}
	}
	for _, pr := range n.Processes {
		parts = append(parts, program(pr))
	}
	return parts
}

// program is a command with those flags that say what it does here: the ones
// whose value is no template, cut short.
func program(p spec.Process) string {
	words, err := spec.SplitCommand(p.Command)
	if err != nil || len(words) == 0 {
		return p.Name
	}
	shown := words[:1:1]
	for i, w := range words[1:] {
		value := i+2 < len(words) && strings.Contains(words[i+2], "{{") && !strings.HasPrefix(words[i+2], "-")
		if !strings.Contains(w, "{{") && (!value || !strings.HasPrefix(w, "-")) {
			shown = append(shown, w)
		}
	}
	text := strings.Join(shown, " ")
	if len(text) > 60 {
		text = text[:57] + "..."
	}
	return text
}

func label(p *spec.Page, e spec.Endpoint) string {
	return strings.TrimSpace(e.String() + " " + strings.Join(addresses(p, e), " "))
}

func addresses(p *spec.Page, e spec.Endpoint) []string {
	i := p.Nodes[e.Node].Interfaces[e.Interface]
	if i == nil {
		return nil
	}
	var all []string
	for _, a := range i.Addresses {
		all = append(all, a.String())
	}
	return all
}

func list(i *spec.Interface) string {
	s := ""
	for _, a := range i.Addresses {
		s += " " + a.String()
	}
	return s
}

// neighbours returns the other ends of the links at a switch, in page order.
func neighbours(p *spec.Page, name string) []spec.Endpoint {
	var ends []spec.Endpoint
	for _, l := range p.Links {
		for i, e := range l.Endpoints {
			if e.Node == name {
				ends = append(ends, l.Endpoints[1-i])
			}
		}
	}
	return ends
}
