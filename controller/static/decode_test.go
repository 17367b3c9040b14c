package static

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

const goodService = `apiVersion: v1
kind: Service
metadata:
  name: good
spec:
  ports:
  - port: 80
`

// TestManifests reads one file at a time. Its problems are written as
// line: message, its objects as kind/namespace/name.
func TestManifests(t *testing.T) {
	for _, row := range []struct {
		says, text string
		problems   []string
		objects    []string
		skipped    []string
	}{
		{"a Service in the default namespace", goodService, nil, []string{"Service/default/good"}, nil},
		{"many documents, empty ones and comments among them",
			"# first\n---\n" + goodService + "---\n# nothing\n---\n---\n" + strings.Replace(goodService, "good", "better", 1),
			nil, []string{"Service/default/good", "Service/default/better"}, nil},
		{"a document may start with a comment after its marker", "--- # the service\n" + goodService, nil, []string{"Service/default/good"}, nil},
		{"lines may end as on Windows", strings.ReplaceAll("---\n"+goodService, "\n", "\r\n"), nil, []string{"Service/default/good"}, nil},
		{"JSON is YAML", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}`, nil, []string{"Node//n"}, nil},
		{"a List, as kubectl prints it", "apiVersion: v1\nkind: List\nitems:\n" + indent(goodService), nil, []string{"Service/default/good"}, nil},
		{"kinds that are not used are skipped",
			"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: loxilb-lb, nonsense: true}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: nginx-test}\n",
			nil, nil, []string{"DaemonSet loxilb-lb", "Pod nginx-test"}},
		{"kubectl's managed fields, times and null values", `apiVersion: v1
kind: Service
metadata:
  name: good
  creationTimestamp: 2023-10-17T00:00:00Z
  annotations: {when: 2023-10-17, liveness: yes}
  managedFields:
  - {manager: kubectl, time: "2023-10-17T00:00:00Z", fieldsV1: {"f:spec": {}}}
spec:
  selector: null
  ports: [{port: 80, targetPort: http}]
`, nil, []string{"Service/default/good"}, nil},
		{"anchors, aliases and merged mappings",
			"apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec:\n  ports:\n  - &p {port: 80, protocol: TCP}\n  - {<<: *p, port: 81}\n", nil, []string{"Service/default/good"}, nil},

		{"a field with the wrong case, its line absolute in the file",
			goodService + "---\n" + strings.Replace(goodService, "port: 80", "port: 81\n    nodeport: 30081", 1),
			[]string{"16: spec.ports[0].nodeport: unknown field; did you mean nodePort?"}, []string{"Service/default/good"}, nil},
		{"an unknown field", strings.Replace(goodService, "spec:", "spec:\n  loadbalancer: true", 1),
			[]string{"6: spec.loadbalancer: unknown field; remove it"}, nil, nil},
		{"every mistake of a document is named", "apiVersion: v1\nkind: Service\nmetadata:\n  name: 7\nspec:\n  type: [LoadBalancer]\n  ports:\n  - port: \"80\"\n    nodePort: 3.5\n  publishNotReadyAddresses: maybe\n",
			[]string{
				"4: metadata.name: is the number 7, must be a string; put it in quotes",
				"6: spec.type: is a list, must be a string",
				`8: spec.ports[0].port: is the string "80", must be a whole number`,
				"9: spec.ports[0].nodePort: is the number 3.5, must be a whole number",
				`10: spec.publishNotReadyAddresses: is the string "maybe", must be true or false`,
			}, nil, nil},
		{"a number that does not fit", strings.Replace(goodService, "80", "8000000000", 1),
			[]string{"7: spec.ports[0].port: 8000000000 does not fit int32"}, nil, nil},
		{"a mapping where a list must be", strings.Replace(goodService, "  - port: 80", "    port: 80", 1),
			[]string{"7: spec.ports: is a mapping, must be a list"}, nil, nil},
		{"a list where a mapping must be", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: [1]\n",
			[]string{"4: spec: is a list, must be a mapping"}, nil, nil},
		{"an annotation that is a number", strings.Replace(goodService, "name: good", "name: good\n  annotations:\n    loxilb.io/timeout: 60", 1),
			[]string{"6: metadata.annotations[loxilb.io/timeout]: is the number 60, must be a string; put it in quotes"}, nil, nil},
		{"a time that is none", strings.Replace(goodService, "name: good", "name: good\n  creationTimestamp: yesterday", 1),
			[]string{`5: metadata.creationTimestamp: the string "yesterday" cannot be read:`}, nil, nil},
		{"a key twice", strings.Replace(goodService, "- port: 80", "- port: 80\n    port: 81", 1),
			[]string{"8: spec.ports[0].port: is in line 7 already; remove one"}, nil, nil},
		{"a mistake within a List has its index", "apiVersion: v1\nkind: List\nitems:\n" + indent(strings.Replace(goodService, "port:", "prot:", 1)) + indent(strings.Replace(goodService, "good", "better", 1)),
			[]string{"10: items[0].spec.ports[0].prot: unknown field; remove it"}, []string{"Service/default/better"}, nil},

		{"broken syntax costs its document only",
			goodService + "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: [bad\n---\n" + strings.Replace(goodService, "good", "better", 1),
			[]string{"12: not YAML:"}, []string{"Service/default/good", "Service/default/better"}, nil},
		{"lines that end by a carriage return are lines",
			strings.ReplaceAll(goodService+"---\nkind: [bad\n---\n"+strings.Replace(goodService, "good", "better", 1), "\n", "\r"),
			[]string{"9: not YAML:"}, []string{"Service/default/good", "Service/default/better"}, nil},
		{"and by both", strings.ReplaceAll(goodService+"---\n\nno mapping\n---\n"+strings.Replace(goodService, "good", "better", 1), "\n", "\r\n"),
			[]string{`10: is the string "no mapping"`}, []string{"Service/default/good", "Service/default/better"}, nil},
		{"and by what YAML 1.1 has besides", "\u0085\u2028\u2029just text\n", []string{`4: is the string "just text"`}, nil, nil},
		{"a document without a marker before it is not lost in silence", `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}` + "\n" + `{"kind": "Node"}`,
			[]string{"2: not YAML: another document begins without a line --- before it"}, []string{"Node//a"}, nil},
		{"nor is one behind an end", goodService + "...\n" + strings.Replace(goodService, "good", "better", 1),
			[]string{"9: not YAML: another document begins without a line --- before it"}, []string{"Service/default/good"}, nil},
		{"of two ends nothing is wrong", goodService + "...\n---\n" + strings.Replace(goodService, "good", "better", 1) + "...\n", nil,
			[]string{"Service/default/good", "Service/default/better"}, nil},
		{"UTF-8 with a byte order mark", "\ufeff" + goodService + "---\nno mapping\n", []string{`9: is the string "no mapping"`}, []string{"Service/default/good"}, nil},
		{"UTF-16, as PowerShell writes it", utf16LE(goodService + "---\nkind: [bad\n---\n" + strings.Replace(goodService, "good", "better", 1)),
			[]string{"9: not YAML:"}, []string{"Service/default/good", "Service/default/better"}, nil},
		{"a tab", "apiVersion: v1\nkind: Service\n\tmetadata: {}\n", []string{"3: not YAML: found a tab character that violates indentation"}, nil, nil},
		{"no kind", "metadata: {name: a}\n", []string{"1: kind: is missing"}, nil, nil},
		{"no mapping", "\n\njust text\n", []string{`3: is the string "just text", must be a mapping`}, nil, nil},
		{"no name", "apiVersion: v1\nkind: Node\n", []string{"1: metadata.name: is missing"}, nil, nil},
		{"an old version of a kind", "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: a}\n",
			[]string{`1: apiVersion: a EndpointSlice of "discovery.k8s.io/v1beta1" is not read; use discovery.k8s.io/v1`}, nil, nil},
		{"a List without items", "apiVersion: v1\nkind: List\n", []string{"1: items: is no list"}, nil, nil},
		{"a key that is no string", "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {[1]: x}}\n", []string{"1: "}, nil, nil},
		{"the same object twice in a file", goodService + "---\n" + goodService,
			[]string{"9: Service/default/good is in dir/a.yaml:1 already, which counts; remove one"}, []string{"Service/default/good"}, nil},
		{"an alias of itself", "apiVersion: v1\nkind: Node\nmetadata: &m\n  name: a\n  labels: *m\n", []string{"1: "}, nil, nil},
		{"aliases that would fill the memory", bomb(), []string{"1: "}, nil, nil},
	} {
		t.Run(row.says, func(t *testing.T) {
			l := library{dir: "dir"}
			l.load(map[string]file{"a.yaml": {data: []byte(row.text)}}, nil)
			u := l.update()
			checkProblems(t, "dir/a.yaml:", row.problems, u.Problems)
			if diff := cmp.Diff(row.objects, objectsOf(u)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.skipped, u.Skipped); diff != "" {
				t.Errorf("skipped (-want +got):\n%s", diff)
			}
		})
	}
}

// utf16LE writes a text with a byte order mark, and line breaks as Windows has them.
func utf16LE(text string) string {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(strings.ReplaceAll(text, "\n", "\r\n"))) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return string(out)
}

// checkProblems compares prefixes: what a parser says in addition may change.
func checkProblems(t *testing.T, file string, want []string, problems []v1.Problem) {
	t.Helper()
	var got []string
	for _, p := range problems {
		got = append(got, strings.TrimPrefix(p.Object, file)+": "+p.Message)
		if strings.Contains(p.Message, "\n") {
			t.Errorf("a problem of several lines: %q", p.Message)
		}
	}
	if !slices.EqualFunc(want, got, func(w, g string) bool { return strings.HasPrefix(g, w) }) {
		t.Errorf("problems\ngot  %q\nwant %q", got, want)
	}
}

func objectsOf(u controller.Update) []string {
	var out []string
	for _, s := range u.Snapshot.Services {
		out = append(out, "Service/"+s.Namespace+"/"+s.Name)
	}
	for _, n := range u.Snapshot.Nodes {
		out = append(out, "Node//"+n.Name)
	}
	for _, s := range u.Snapshot.Slices {
		out = append(out, "EndpointSlice/"+s.Namespace+"/"+s.Name)
	}
	return out
}

// indent makes a document an item of a list.
func indent(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = "  " + l
	}
	return "-" + strings.TrimPrefix(strings.Join(lines, "\n"), " ") + "\n"
}

// bomb is a document of nine levels, each ten times the one before.
func bomb() string {
	text := "apiVersion: v1\nkind: Node\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		alias := fmt.Sprintf("*a%d", i-1)
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(alias+", ", 10), ", "))
	}
	return text
}

// TestFieldsAreRead makes sure that what was checked is also decoded.
func TestFieldsAreRead(t *testing.T) {
	u, err := Load("../../topo/catalog/article")
	if err != nil || len(u.Problems) > 0 {
		t.Fatal(err, u.Problems)
	}
	want := []string{
		"Service/default/nginx-lb1", "Service/default/sctp-lb1", "Service/default/udp-lb1",
		"Service/kube-system/loxilb-lb-service", "Service/kube-system/loxilb-peer-service",
		"Node//master1", "Node//master2", "Node//worker1", "Node//worker2",
		"EndpointSlice/default/nginx-lb1-4kq9d", "EndpointSlice/default/sctp-lb1-4kq9d", "EndpointSlice/default/udp-lb1-4kq9d",
		"EndpointSlice/kube-system/loxilb-lb-service-7x2vb", "EndpointSlice/kube-system/loxilb-peer-service-7x2vb",
	}
	if diff := cmp.Diff(want, objectsOf(u)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	s := u.Snapshot.Services[2]
	if got := fmt.Sprintf("%d %d %s %s", s.Spec.Ports[0].Port, s.Spec.Ports[0].NodePort, s.Spec.Ports[0].Protocol, s.Annotations["loxilb.io/liveness"]); got != "55003 30165 UDP yes" {
		t.Errorf("udp-lb1 is read as %q", got)
	}
}

// A broken document keeps what its file said last; the others count at once.
func TestLastGoodStateStands(t *testing.T) {
	udp := strings.Replace(goodService, "good", "udp", 1)
	l := library{dir: "dir"}
	for _, step := range []struct {
		says       string
		files      map[string]file
		err        error
		objects    []string
		incomplete bool
	}{
		{"at the start a broken document has nothing to keep",
			map[string]file{"a.yaml": {data: []byte("x: [\n---\n" + goodService)}}, nil, []string{"Service/default/good"}, true},
		{"all is well", map[string]file{"a.yaml": {data: []byte(udp + "---\n" + goodService)}}, nil, []string{"Service/default/udp", "Service/default/good"}, false},
		{"one document breaks: both are there", map[string]file{"a.yaml": {data: []byte("x: [\n---\n" + goodService)}}, nil, []string{"Service/default/good", "Service/default/udp"}, true},
		{"and stay so while it is broken", map[string]file{"a.yaml": {data: []byte("x: [[\n---\n" + goodService)}}, nil, []string{"Service/default/good", "Service/default/udp"}, true},
		{"a file that cannot be read stands too", map[string]file{"a.yaml": {err: fmt.Errorf("permission denied")}}, nil, []string{"Service/default/good", "Service/default/udp"}, true},
		{"mended without udp: it is gone", map[string]file{"a.yaml": {data: []byte(goodService)}}, nil, []string{"Service/default/good"}, false},
		{"the folder vanishes: all stands", nil, fmt.Errorf("no such folder"), []string{"Service/default/good"}, true},
		{"it is back with another file", map[string]file{"b.yaml": {data: []byte(udp)}}, nil, []string{"Service/default/udp"}, false},
		{"the same object in two files counts once", map[string]file{"b.yaml": {data: []byte(udp)}, "c.yaml": {data: []byte(udp)}}, nil, []string{"Service/default/udp"}, false},
		{"an empty folder is an empty cluster", map[string]file{}, nil, nil, false},
	} {
		l.load(step.files, step.err)
		u := l.update()
		if diff := cmp.Diff(step.objects, objectsOf(u)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.says, diff)
		}
		if u.Snapshot.Incomplete != step.incomplete {
			t.Errorf("%s: incomplete is %t; problems %v", step.says, u.Snapshot.Incomplete, u.Problems)
		}
	}
}

// FuzzManifest holds that no file can stop the controller, and that a problem
// names a line of the file.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodService))
	f.Add([]byte(goodService + "---\n" + "a: &a [*a]\n--- |\n x\n"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems:\n" + indent(goodService)))
	f.Add([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: a, <<: [{x: 1}]}\n"))
	f.Add([]byte("\r\r00"))
	f.Add([]byte(utf16LE("a: b\n\u2028\u2028\u2028[")))
	f.Add([]byte("\u0085\u2028\u2029a: [\r\n"))
	breaks := regexp.MustCompile(`\r\n|\r|\n|\x{85}|\x{2028}|\x{2029}`)
	f.Fuzz(func(t *testing.T, data []byte) {
		l := library{dir: "dir"}
		l.load(map[string]file{"a.yaml": {data: data}}, nil)
		text, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), data)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l.update().Problems {
			var line int
			if _, err := fmt.Sscanf(p.Object, "dir/a.yaml:%d", &line); err != nil || line < 1 || line > len(breaks.FindAll(text, -1))+1 {
				t.Errorf("problem %+v names no line of the file", p)
			}
		}
	})
}
