package node

import (
	"fmt"
	"strings"
	"text/template"
)

// Vars is what templates of a page may name.
type Vars struct {
	// Instance is the topology's id, Node the node's name.
	Instance string
	Node     string
	// State is the node's folder, Dir the whole topology's.
	State string
	Dir   string
	// Bin is the folder of weir's programs.
	Bin string
	// Manifests is the folder with the page's manifests.
	Manifests string
	// CA, Cert and Key are PEM files: the topology's authority and the node's
	// certificate. ClientCert and ClientKey are for kube-weir and weirctl.
	CA, Cert, Key         string
	ClientCert, ClientKey string
	// Vars are the page's own, as {{.Vars.hook}}.
	Vars map[string]string
}

// Expand fills in a template. An unknown variable is an error.
func (v Vars) Expand(text string) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("expand %q: %w", text, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("expand %q: %w", text, err)
	}
	return b.String(), nil
}
