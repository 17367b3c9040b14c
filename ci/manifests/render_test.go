package manifests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// object is one of an apiserver's, as JSON would have it.
type object = map[string]any

// nameOf is Kind namespace/name.
func nameOf(o object) string {
	return fmt.Sprintf("%v %v/%v", o["kind"], dig(o, "metadata", "namespace"), dig(o, "metadata", "name"))
}

// read reads a stream of YAML documents.
func read(t *testing.T, text string) map[string]object {
	t.Helper()
	out := map[string]object{}
	for document := range strings.SplitSeq("\n"+text, "\n---") {
		var o object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if o != nil {
			out[nameOf(o)] = o
		}
	}
	return out
}

// dig looks up a field below o, nil where there is none.
func dig(o any, path ...string) any {
	for _, key := range path {
		m, _ := o.(object)
		o = m[key]
	}
	return o
}

// list is a field that is a list, each of whose elements is a T.
func list[T any](o any) []T {
	all, _ := o.([]any)
	var out []T
	for _, item := range all {
		one, _ := item.(T)
		out = append(out, one)
	}
	return out
}

// kustomized is what kubectl apply -k FOLDER applies.
func kustomized(t *testing.T, folder string) map[string]object {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return read(t, string(text))
}

// templated is what helm template weir FOLDER --namespace weir-system prints.
func templated(t *testing.T, folder string, values map[string]any) map[string]object {
	t.Helper()
	chart, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := chart.Validate(); err != nil {
		t.Fatal(err)
	}
	options := chartutil.ReleaseOptions{Name: "weir", Namespace: "weir-system", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(chart, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]object{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if file == "weir/templates/NOTES.txt" {
			continue
		}
		for name, o := range read(t, files[file]) {
			if out[name] != nil {
				t.Errorf("%s is there twice", name)
			}
			out[name] = o
		}
	}
	return out
}
