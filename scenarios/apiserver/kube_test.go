package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-lb/weir/topo/node"
)

// kube talks to the apiserver, as an administrator unless token says otherwise, by its REST API: what a
// scenario knows of Kubernetes is what is on the wire.
type kube struct {
	http  *http.Client
	token string
	close func()
}

// refused is an answer that is no success.
type refused struct {
	code int
	text string
}

// Error shows the apiserver's own words.
func (r *refused) Error() string { return fmt.Sprintf("apiserver: %d: %s", r.code, r.text) }

// newKube asks from node n, whose CA signed the apiserver's certificate.
func newKube(n *node.Node) (*kube, error) {
	pem, err := os.ReadFile(n.Vars.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{DialContext: n.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	return &kube{&http.Client{Transport: transport, Timeout: 10 * time.Second}, "admin-token", transport.CloseIdleConnections}, nil
}

// do sends a request and reads the answer into out, which may be nil.
func (k *kube) do(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, "https://198.51.100.1:6443"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+k.token)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := k.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return &refused{answer.StatusCode, string(text)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (k *kube) get(ctx context.Context, path string, out any) error {
	return k.do(ctx, http.MethodGet, path, "", nil, out)
}

func (k *kube) delete(ctx context.Context, path string) error {
	return k.do(ctx, http.MethodDelete, path, "", nil, nil)
}

// patch merges JSON into an object.
func (k *kube) patch(ctx context.Context, path, merge string) error {
	return k.do(ctx, http.MethodPatch, path, "application/merge-patch+json", []byte(merge), nil)
}

// apply makes objects what manifests say, as kubectl apply --server-side does,
// and their status too.
func (k *kube) apply(ctx context.Context, manifests ...string) error {
	for _, manifest := range manifests {
		for document := range strings.SplitSeq(manifest, "\n---\n") {
			if err := k.applyOne(ctx, document); err != nil {
				return fmt.Errorf("%w\n%s", err, document)
			}
		}
	}
	return nil
}

func (k *kube) applyOne(ctx context.Context, document string) error {
	var o struct {
		Kind     string
		Metadata struct{ Name, Namespace string }
		Status   any
	}
	if err := yaml.Unmarshal([]byte(document), &o); err != nil {
		return err
	}
	path, err := pathOf(o.Kind, o.Metadata.Namespace, o.Metadata.Name)
	if err != nil {
		return err
	}
	targets := []string{path}
	if o.Status != nil {
		targets = append(targets, path+"/status")
	}
	for _, target := range targets {
		err := k.do(ctx, http.MethodPatch, target+"?fieldManager=scenario&force=true&fieldValidation=Strict", "application/apply-patch+yaml", []byte(document), nil)
		if err != nil {
			return err
		}
	}
	return nil
}

func pathOf(kind, namespace, name string) (string, error) {
	switch kind {
	case "Node":
		return "/api/v1/nodes/" + name, nil
	case "Namespace":
		return "/api/v1/namespaces/" + name, nil
	case "Service":
		return "/api/v1/namespaces/" + namespace + "/services/" + name, nil
	case "EndpointSlice":
		return "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices/" + name, nil
	case "ConfigMap", "ServiceAccount":
		return "/api/v1/namespaces/" + namespace + "/" + strings.ToLower(kind) + "s/" + name, nil
	case "Deployment", "DaemonSet":
		return "/apis/apps/v1/namespaces/" + namespace + "/" + strings.ToLower(kind) + "s/" + name, nil
	case "ClusterRole", "ClusterRoleBinding":
		return "/apis/rbac.authorization.k8s.io/v1/" + strings.ToLower(kind) + "s/" + name, nil
	case "Role", "RoleBinding":
		return "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace + "/" + strings.ToLower(kind) + "s/" + name, nil
	}
	return "", fmt.Errorf("kind %q has no path here", kind)
}
