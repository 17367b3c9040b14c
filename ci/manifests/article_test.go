package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// The article (testdata/article/README.md says whose), and what is ours of it.
const (
	quoted = "testdata/article"
	ours   = "../../deploy/article"
)

// file is what is in one.
func file(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// differences lists where b is not as a: fields as a path, with both values as JSON.
func differences(path string, a, b any) []string {
	one, ok := a.(object)
	two, both := b.(object)
	if !ok || !both {
		was, _ := json.Marshal(a)
		is, _ := json.Marshal(b)
		if string(was) == string(is) {
			return nil
		}
		return []string{fmt.Sprintf("%s: %s, not %s", path, is, was)}
	}
	keys := maps.Clone(one)
	maps.Copy(keys, two)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		out = append(out, differences(path+"."+key, one[key], two[key])...)
	}
	return out
}

// TestArticleIsChangedWhereItMustBe: what deploy/article has of the article's manifests
// is the article's but for image and command, and what of the node weir keeps: the
// certificate of its API, and what outlives a pod.
func TestArticleIsChangedWhereItMustBe(t *testing.T) {
	const (
		state = `{"mountPath":"/var/lib/weir","name":"state"}`
		tls   = `{"mountPath":"/etc/weir/tls","name":"tls","readOnly":true}`
		bpf   = `{"mountPath":"/sys/fs/bpf","mountPropagation":"Bidirectional","name":"bpf"}`

		stateVolume = `{"hostPath":{"path":"/var/lib/weir","type":"DirectoryOrCreate"},"name":"state"}`
		tlsVolume   = `{"name":"tls","secret":{"secretName":"weir-tls"}}`
		bpfVolume   = `{"hostPath":{"path":"/sys/fs/bpf","type":"DirectoryOrCreate"},"name":"bpf"}`

		flags = `"--state-dir=/var/lib/weir","--tls-cert=/etc/weir/tls/tls.crt","--tls-key=/etc/weir/tls/tls.key","--tls-ca=/etc/weir/tls/ca.crt"`
	)
	for _, row := range []struct {
		theirs, ours string
		want         []string
	}{
		{"loxilb.yml", "weir.yml", []string{
			`DaemonSet kube-system/loxilb-lb container.command: ["/usr/local/bin/weir","--bgp","--egr-hooks","--blacklist=cni[0-9a-z]|veth.|flannel.",` + flags +
				`], not ["/root/loxilb-io/loxilb/loxilb","--bgp","--egr-hooks","--blacklist=cni[0-9a-z]|veth.|flannel."]`,
			`DaemonSet kube-system/loxilb-lb container.image: "ghcr.io/weir-lb/weir:latest", not "ghcr.io/loxilb-io/loxilb:latest"`,
			`DaemonSet kube-system/loxilb-lb container.volumeMounts: [` + tls + `,` + bpf + `,` + state + `], not null`,
			`DaemonSet kube-system/loxilb-lb.spec.template.spec.volumes: [` + tlsVolume + `,` + bpfVolume + `,` + stateVolume + `], not null`,
		}},
		{"loxilb-peer.yml", "weir-peer.yml", []string{
			`DaemonSet kube-system/loxilb-peer container.command: ["/usr/local/bin/weir","--peer",` + flags +
				`], not ["/root/loxilb-io/loxilb/loxilb","--peer"]`,
			`DaemonSet kube-system/loxilb-peer container.image: "ghcr.io/weir-lb/weir:latest", not "ghcr.io/loxilb-io/loxilb:latest"`,
			`DaemonSet kube-system/loxilb-peer container.volumeMounts: [` + tls + `,` + state + `], not null`,
			`DaemonSet kube-system/loxilb-peer.spec.template.spec.volumes: [` + tlsVolume + `,` + stateVolume + `], not null`,
		}},
	} {
		theirs, our := read(t, file(t, quoted, row.theirs)), read(t, file(t, ours, row.ours))
		if diff := cmp.Diff(slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(our))); diff != "" || len(theirs) != 2 {
			t.Errorf("objects (-%s +%s):\n%s", row.theirs, row.ours, diff)
		}
		var got []string
		for _, name := range slices.Sorted(maps.Keys(theirs)) {
			if dig(theirs[name], "kind") == "DaemonSet" {
				got = append(got, differences(name+" container", container(t, theirs[name]), container(t, our[name]))...)
			}
			got = append(got, differences(name, theirs[name], our[name])...)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s of deploy/article differs from %s (-may +does):\n%s", row.ours, row.theirs, diff)
		}
	}
}

// container takes the only container out of a workload.
func container(t *testing.T, o object) object {
	t.Helper()
	pod, _ := dig(o, "spec", "template", "spec").(object)
	all := list[object](pod["containers"])
	if len(all) != 1 {
		t.Fatalf("%s has %d containers, want 1", nameOf(o), len(all))
	}
	delete(pod, "containers")
	return all[0]
}

// TestArgumentsOfKubeLoxilb: the article shows them and nothing else of that manifest.
func TestArgumentsOfKubeLoxilb(t *testing.T) {
	var theirs struct{ Args []string }
	if err := yaml.Unmarshal([]byte(file(t, quoted, "kube-loxilb.yml")), &theirs); err != nil {
		t.Fatal(err)
	}
	want := append(theirs.Args, "--extBGPPeers=192.168.80.1:65101", "--health-listen=:11113")
	got := list[string](container(t, read(t, file(t, ours, "kube-weir.yml"))["Deployment kube-system/kube-loxilb"])["args"])
	if diff := cmp.Diff(want, got); diff != "" || len(theirs.Args) != 3 {
		t.Errorf("arguments (-article +ours):\n%s", diff)
	}
}

// typed is a command of the article's session, and what it says.
type typed struct{ host, command, output string }

func session(t *testing.T) []typed {
	t.Helper()
	prompt := regexp.MustCompile(`^\w+@(\w+):\S+ (.+)`)
	var out []typed
	for line := range strings.Lines(file(t, quoted, "session.txt")) {
		if m := prompt.FindStringSubmatch(line); m != nil {
			out = append(out, typed{m[1], strings.TrimSpace(m[2]), ""})
			continue
		}
		out[len(out)-1].output += line
	}
	return out
}

// rows are the lines of what a command says that begin so, as words.
func (c typed) rows(beginning string) [][]string {
	var out [][]string
	for line := range strings.Lines(c.output) {
		if strings.HasPrefix(line, beginning) {
			out = append(out, strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" |\n", r) }))
		}
	}
	return out
}

// applied are our files for those that the article applies, in its order, each with
// the objects that kubectl tells of.
func applied(t *testing.T) (files []string, created map[string][]string) {
	t.Helper()
	created = map[string][]string{}
	for _, c := range session(t) {
		name, ok := strings.CutPrefix(c.command, "sudo kubectl apply -f /vagrant/")
		if !ok {
			continue
		}
		name = strings.ReplaceAll(strings.TrimSuffix(name, filepath.Ext(name)), "loxilb", "weir")
		files = append(files, name)
		for _, row := range c.rows("") {
			created[name] = append(created[name], row[0])
		}
	}
	return files, created
}

// TestArticleCreatesWhatItSays: each file has the objects that kubectl apply tells of.
func TestArticleCreatesWhatItSays(t *testing.T) {
	files, created := applied(t)
	if len(files) != 6 {
		t.Fatalf("the article applies %q", files)
	}
	// For the Lease, the ConfigMap and the Secrets, which kube-loxilb does not have.
	created["kube-weir"] = append(created["kube-weir"], "role.rbac.authorization.k8s.io/kube-loxilb", "rolebinding.rbac.authorization.k8s.io/kube-loxilb")
	for _, name := range files {
		var got []string
		for _, o := range read(t, file(t, ours, name+".yml")) {
			kind := strings.ToLower(fmt.Sprint(o["kind"]))
			if group, _, ok := strings.Cut(fmt.Sprint(o["apiVersion"]), "/"); ok {
				kind += "." + group
			}
			got = append(got, fmt.Sprintf("%s/%v", kind, dig(o, "metadata", "name")))
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(created[name])), got); diff != "" {
			t.Errorf("%s.yml (-article +ours):\n%s", name, diff)
		}
	}
}

// TestServicesAreTheArticles holds the Services to what kubectl get svc and
// loxicmd get lb show of them there.
func TestServicesAreTheArticles(t *testing.T) {
	services := map[string]object{}
	for _, name := range []string{"nginx", "udp", "sctp"} {
		for _, o := range read(t, file(t, ours, name+".yml")) {
			if o["kind"] == "Service" {
				services[fmt.Sprint(dig(o, "metadata", "name"))] = o
			}
		}
	}
	var shown, balanced, want []string
	for _, c := range session(t) {
		switch c.command {
		case "sudo kubectl get svc":
			for _, row := range c.rows("") {
				if row[1] == "LoadBalancer" { // NAME TYPE CLUSTER-IP EXTERNAL-IP PORT:NODEPORT/PROTOCOL AGE
					port, rest, _ := strings.Cut(row[4], ":")
					_, protocol, _ := strings.Cut(rest, "/")
					shown = append(shown, row[0]+" "+port+" "+protocol)
				}
			}
		case "loxicmd get lb":
			for _, row := range c.rows("| 123.123.123.1 ") { // address, port, protocol, block, select, mode, endpoints, monitor
				balanced = append(balanced, strings.Join([]string{row[1], row[2], row[5], row[7]}, " "))
			}
		}
	}
	var balance []string
	for name, o := range services {
		for _, p := range list[object](dig(o, "spec", "ports")) {
			monitor := "Off"
			if dig(o, "metadata", "annotations", "loxilb.io/liveness") == "yes" {
				monitor = "On"
			}
			want = append(want, fmt.Sprintf("%s %v %v", name, p["port"], p["protocol"]))
			balance = append(balance, strings.ToLower(fmt.Sprintf("%v %v %v ", p["port"], p["protocol"], dig(o, "metadata", "annotations", "loxilb.io/lbmode")))+monitor)
		}
	}
	slices.Sort(want)
	slices.Sort(balance)
	if diff := cmp.Diff(shown, want); diff != "" || len(shown) != 3 {
		t.Errorf("kubectl get svc (-article +ours):\n%s", diff)
	}
	if diff := cmp.Diff(balanced, balance); diff != "" || len(balanced) != 3 {
		t.Errorf("get lb (-article +ours):\n%s", diff)
	}
}
