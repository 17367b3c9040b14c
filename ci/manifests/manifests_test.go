package manifests

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

const (
	base  = "../../deploy/base"
	chart = "../../deploy/helm/weir"
)

// TestChartIsTheBase compares them object by object. The namespace is helm's
// own affair (--create-namespace).
func TestChartIsTheBase(t *testing.T) {
	want, got := kustomized(t, base), templated(t, chart, nil)
	delete(want, "Namespace <nil>/weir-system")
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Fatalf("objects (-base +chart):\n%s", diff)
	}
	for name := range want {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s (-base +chart):\n%s", name, diff)
		}
	}
}

func TestChartValues(t *testing.T) {
	got := templated(t, chart, map[string]any{
		"image":         map[string]any{"registry": "registry.example/weir", "tag": "v1", "pullPolicy": "Never"},
		"pools":         []any{"defaultPool=192.0.2.0/28", "other=192.0.2.64-192.0.2.70", "defaultPool=2001:db8::100-2001:db8::1ff"},
		"asn":           64999,
		"externalPeers": []any{"192.0.2.254:65101", "192.0.2.253:65102"},
		"kubeWeir":      map[string]any{"extraArgs": []any{"--setLBMode=2"}},
		"weir":          map[string]any{"extraArgs": []any{"--hook=tc"}},
		"peer":          map[string]any{"extraArgs": []any{"--log-level=debug"}},
	})
	for name, want := range map[string][]string{
		"Deployment weir-system/kube-weir": {"registry.example/weir/kube-weir:v1", "Never", "--cidrPools=defaultPool=192.0.2.0/28,other=192.0.2.64-192.0.2.70,defaultPool=2001:db8::100-2001:db8::1ff",
			"--setBGP=64999", "--extBGPPeers=192.0.2.254:65101,192.0.2.253:65102", "--setLBMode=2"},
		"DaemonSet weir-system/weir":      {"registry.example/weir/weir:v1", "Never", "--hook=tc"},
		"DaemonSet weir-system/weir-peer": {"registry.example/weir/weir:v1", "Never", "--log-level=debug"},
	} {
		text, err := yaml.Marshal(got[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range want {
			if !strings.Contains(string(text), word) {
				t.Errorf("%s lacks %s:\n%s", name, word, text)
			}
		}
	}
}

// TestNumbersOfAValuesFile has them as helm -f reads them, where every number is a float64: an AS of four bytes (RFC 6793)
// is not to become 4.200000001e+09.
func TestNumbersOfAValuesFile(t *testing.T) {
	values, err := chartutil.ReadValues([]byte("asn: 4200000001\nlbMode: 2\nkubeWeir: {replicas: 2000000}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := templated(t, chart, values)["Deployment weir-system/kube-weir"]
	args := list[string](list[object](dig(got, "spec", "template", "spec", "containers"))[0]["args"])
	for _, want := range []string{"--setBGP=4200000001", "--setLBMode=2"} {
		if !slices.Contains(args, want) {
			t.Errorf("no argument %s: %q", want, args)
		}
	}
	text, err := yaml.Marshal(dig(got, "spec"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "replicas: 2000000\n") {
		t.Errorf("replicas are not 2000000:\n%s", text)
	}
}

// TestRolloutStopsAtANodeThatDoesNotServe holds what makes it stop: weir has no probe, so without a time that it has to stay
// a pod that ends at once counts as ready for a moment, and the next node's is replaced.
func TestRolloutStopsAtANodeThatDoesNotServe(t *testing.T) {
	all := kustomized(t, base)
	for _, name := range []string{"weir", "weir-peer"} {
		spec := dig(all["DaemonSet weir-system/"+name], "spec")
		if got := dig(spec, "minReadySeconds"); fmt.Sprint(got) != "5" {
			t.Errorf("DaemonSet %s: minReadySeconds is %v, want 5", name, got)
		}
		if got := dig(spec, "updateStrategy"); got != nil {
			t.Errorf("DaemonSet %s: its pods are not replaced one by one: %v", name, got)
		}
	}
}

func TestContainersHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	want := map[string][]string{
		"cleanup":   {"NET_ADMIN"},
		"kube-weir": nil,
		"weir":      {"BPF", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "PERFMON"},
		"weir-peer": {"NET_ADMIN", "NET_BIND_SERVICE"},
	}
	all := kustomized(t, base)
	text, err := os.ReadFile("../../deploy/cleanup/weir-cleanup.yml")
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, read(t, string(text)))
	for _, o := range all {
		pod := dig(o, "spec", "template", "spec")
		for _, c := range list[object](dig(pod, "containers")) {
			name, _ := c["name"].(string)
			added, known := want[name]
			if may := list[string](dig(c, "securityContext", "capabilities", "add")); !known || !slices.Equal(may, added) {
				t.Errorf("%s adds %q, want %q", name, may, added)
			}
			delete(want, name)
			s, _ := c["securityContext"].(object)
			if !slices.Equal(list[string](dig(s, "capabilities", "drop")), []string{"ALL"}) || s["readOnlyRootFilesystem"] != true ||
				s["allowPrivilegeEscalation"] != false || s["privileged"] != nil {
				t.Errorf("%s: %v", name, s)
			}
			if dig(s, "seccompProfile", "type") != "RuntimeDefault" && dig(pod, "securityContext", "seccompProfile", "type") != "RuntimeDefault" {
				t.Errorf("%s may use any system call", name)
			}
			if dig(c, "resources", "requests", "cpu") == nil || dig(c, "resources", "requests", "memory") == nil {
				t.Errorf("%s asks for no resources", name)
			}
		}
		for _, v := range list[object](dig(pod, "volumes")) {
			if secret := dig(v, "secret", "secretName"); secret != nil && secret != "weir-tls" {
				t.Errorf("%v mounts the secret %v", dig(o, "metadata", "name"), secret)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("there are no containers %v", slices.Sorted(maps.Keys(want)))
	}
}

// TestRightsAreThoseOfTheArticle holds the two ways to install kube-weir together.
func TestRightsAreThoseOfTheArticle(t *testing.T) {
	text, err := os.ReadFile("../../deploy/article/kube-weir.yml")
	if err != nil {
		t.Fatal(err)
	}
	article, ours := read(t, string(text)), kustomized(t, base)
	for theirs, name := range map[string]string{
		"ClusterRole <nil>/kube-loxilb": "ClusterRole <nil>/kube-weir", "Role kube-system/kube-loxilb": "Role weir-system/kube-weir",
	} {
		if diff := cmp.Diff(article[theirs]["rules"], ours[name]["rules"]); diff != "" || ours[name] == nil {
			t.Errorf("%s (-article +base):\n%s", name, diff)
		}
	}
}
