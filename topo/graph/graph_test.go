package graph

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-lb/weir/topo/catalog"
	"github.com/weir-lb/weir/topo/spec"
)

const page = `name: small
title: Two on a switch, a pod below
nodes:
  client: {role: client, interfaces: {eth1: {addresses: [192.0.2.1/24]}}}
  sw: {role: switch}
  worker:
    role: worker
    interfaces:
      eth1: {addresses: [192.0.2.10/24]}
      cni0: {bridge: [veth0], addresses: [10.42.1.1/24]}
    processes: [{name: weir, command: "weir --peer --socket={{.State}}/s -P {{.State}}/p"}]
  pod: {role: pod, interfaces: {eth0: {addresses: [10.42.1.2/24]}}}
links:
  - endpoints: ["client:eth1", "sw:p1"]
  - endpoints: ["sw:p2", "worker:eth1"]
  - endpoints: ["pod:eth0", "worker:veth0"]
kubeProxy:
  nodes: [worker]
  clusterCIDR: 10.42.0.0/16
  services:
    - {name: default/web, protocol: tcp, clusterIP: 10.43.0.1, port: 80, nodePort: 30080, policy: Local, endpoints: ["10.42.1.2:8080"]}
`

const picture1 = `small: Two on a switch, a pod below

==+==============+============== sw
  |              |
  client         worker
  eth1           eth1
  192.0.2.1/24   192.0.2.10/24

  pod:eth0 10.42.1.2/24 ---- worker:veth0

  client  client
  worker  worker  bridge cni0 10.42.1.1/24 over veth0; weir --peer
  pod     pod

  NodePorts on worker:
    30080/tcp -> [10.42.1.2:8080] default/web (Local)
`

func TestASCII(t *testing.T) {
	p, err := spec.Parse("page.yaml", []byte(page))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(picture1, ASCII(p)); d != "" {
		t.Errorf("picture (-want +got):\n%s", d)
	}
}

// TestSVGOfTheCatalog checks what can be checked without eyes: it is XML, all
// nodes are named in it, no machine covers another, none leaves the canvas,
// and the same page gives the same picture.
func TestSVGOfTheCatalog(t *testing.T) {
	for _, name := range catalog.Names() {
		t.Run(name, func(t *testing.T) {
			p, err := spec.Load(catalog.FS, name+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			svg := SVG(p)
			if svg != SVG(p) {
				t.Error("two drawings of one page differ")
			}
			checkXML(t, svg)
			for _, n := range p.Order {
				if !strings.Contains(svg, ">"+n) {
					t.Errorf("node %s is not in the picture", n)
				}
			}
			pic := &picture{page: p, boxes: map[string]*box{}, bars: map[string]float64{}}
			pic.place()
			checkPlaces(t, pic)
		})
	}
}

func checkXML(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}

func checkPlaces(t *testing.T, p *picture) {
	t.Helper()
	for _, a := range p.boxes {
		if a.x < 0 || a.y < 0 || a.x+a.w > p.width || a.y+a.h > p.height {
			t.Errorf("%s leaves the canvas of %.0fx%.0f: %+v", a.name, p.width, p.height, *a)
		}
		for _, b := range p.boxes {
			if a != b && a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
				t.Errorf("%s covers %s", a.name, b.name)
			}
		}
		for net, y := range p.bars {
			if a.y < y && y < a.y+a.h {
				t.Errorf("%s lies on network %s", a.name, net)
			}
		}
	}
}
