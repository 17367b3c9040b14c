package static

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// used are the kinds that count, by kind.
var used = map[string]struct {
	apiVersion string
	make       func() metav1.Object
	namespaced bool
}{
	"Service":       {"v1", func() metav1.Object { return new(corev1.Service) }, true},
	"Node":          {"v1", func() metav1.Object { return new(corev1.Node) }, false},
	"EndpointSlice": {"discovery.k8s.io/v1", func() metav1.Object { return new(discoveryv1.EndpointSlice) }, true},
}

// object is a manifest that was understood.
type object struct {
	id    string // kind/namespace/name
	line  int
	value metav1.Object
}

// decoded is what became of one document.
type decoded struct {
	objects []object
	faults  []fault
	skipped []string // kind name
}

// decode reads the objects of a document: one, or those of a List.
func decode(root *yaml.Node) decoded {
	var c checker
	if c.checkDoubles(root, ""); len(c.faults) > 0 {
		return decoded{faults: c.faults}
	}
	// This bounds aliases: what follows walks through them without a limit.
	if _, err := toJSON(root); err != nil {
		line, message := syntaxError(err)
		return decoded{faults: []fault{{max(line, root.Line), "", message}}}
	}
	if root.Kind != yaml.MappingNode {
		return decoded{faults: []fault{{root.Line, "", "is " + describe(root) + ", must be a mapping with apiVersion and kind"}}}
	}
	kind, apiVersion := text(root, "kind"), text(root, "apiVersion")
	switch u, ok := used[kind]; {
	case kind == "":
		return decoded{faults: []fault{{root.Line, "kind", "is missing; say what the object is"}}}
	case kind == "List" && apiVersion == "v1":
		return decodeList(root)
	case !ok:
		return decoded{skipped: []string{kind + " " + text(child(root, "metadata"), "name")}}
	case apiVersion != u.apiVersion:
		return decoded{faults: []fault{{root.Line, "apiVersion", fmt.Sprintf("a %s of %q is not read; use %s", kind, apiVersion, u.apiVersion)}}}
	}
	return decodeObject(root, kind)
}

func decodeList(root *yaml.Node) decoded {
	items := child(root, "items")
	if items == nil || items.Kind != yaml.SequenceNode {
		return decoded{faults: []fault{{root.Line, "items", "is no list"}}}
	}
	var all decoded
	for i, item := range items.Content {
		d := decode(item)
		for _, f := range d.faults {
			f.path = fmt.Sprintf("items[%d].%s", i, f.path)
			all.faults = append(all.faults, f)
		}
		all.objects = append(all.objects, d.objects...)
		all.skipped = append(all.skipped, d.skipped...)
	}
	return all
}

func decodeObject(root *yaml.Node, kind string) decoded {
	u := used[kind]
	o := u.make()
	var c checker
	c.check(root, reflect.TypeOf(o).Elem(), "")
	if len(c.faults) > 0 {
		return decoded{faults: c.faults}
	}
	data, err := toJSON(root)
	if err == nil {
		err = json.Unmarshal(data, o)
	}
	if err != nil {
		return decoded{faults: []fault{{root.Line, "", err.Error()}}}
	}
	if o.GetName() == "" {
		return decoded{faults: []fault{{root.Line, "metadata.name", "is missing; every object has a name"}}}
	}
	if u.namespaced && o.GetNamespace() == "" {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return decoded{objects: []object{{kind + "/" + o.GetNamespace() + "/" + o.GetName(), root.Line, o}}}
}

// toJSON converts a YAML tree. Dates stay as they are written: Kubernetes has
// them as strings.
func toJSON(n *yaml.Node) ([]byte, error) {
	keepDates(n)
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("a key is no string; put it in quotes")
	}
	return data, nil
}

func keepDates(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		keepDates(c)
	}
}

// child is the value of a mapping's key, nil where there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// text is the value of a mapping's key where that is a scalar.
func text(n *yaml.Node, key string) string {
	if c := child(n, key); c != nil && c.Kind == yaml.ScalarNode {
		return c.Value
	}
	return ""
}
