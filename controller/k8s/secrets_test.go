package k8s

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-lb/weir/controller/pki"
)

// secretStore is an apiserver that has Secrets and nothing else.
type secretStore struct {
	mu      sync.Mutex // for requests; tests look while nobody asks
	objects map[string]*corev1.Secret
	version int
	writes  []string
	// before is called before each request, and may fail it.
	before func(verb, name string) error
}

func newSecretStore(given ...*corev1.Secret) *secretStore {
	s := &secretStore{objects: map[string]*corev1.Secret{}, before: func(string, string) error { return nil }}
	for _, o := range given {
		s.set(o)
	}
	return s
}

func (s *secretStore) set(o *corev1.Secret) *corev1.Secret {
	s.version++
	o = o.DeepCopy()
	o.ResourceVersion = strconv.Itoa(s.version)
	s.objects[o.Name] = o
	return o.DeepCopy()
}

var secretResource = schema.GroupResource{Resource: "secrets"}

func (s *secretStore) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	if err := s.before("get", name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[name]; o != nil {
		return o.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(secretResource, name)
}

func (s *secretStore) Create(_ context.Context, o *corev1.Secret, _ metav1.CreateOptions) (*corev1.Secret, error) {
	if err := s.before("create", o.Name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[o.Name] != nil {
		return nil, apierrors.NewAlreadyExists(secretResource, o.Name)
	}
	s.writes = append(s.writes, "create "+o.Name)
	return s.set(o), nil
}

func (s *secretStore) Update(_ context.Context, o *corev1.Secret, _ metav1.UpdateOptions) (*corev1.Secret, error) {
	if err := s.before("update", o.Name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := s.objects[o.Name]; there == nil || there.ResourceVersion != o.ResourceVersion {
		return nil, apierrors.NewConflict(secretResource, o.Name, fmt.Errorf("version %s is over", o.ResourceVersion))
	}
	s.writes = append(s.writes, "update "+o.Name)
	return s.set(o), nil
}

// secretOf is a Secret of that name; made tells whether the controller made it.
func secretOf(name string, made bool, data pki.Data) *corev1.Secret {
	o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if made {
		o.Labels = map[string]string{madeBy: "kube-weir"}
	}
	return o
}

// keeper keeps the certificates in a store.
func keeper(s *secretStore, o CertificatesOptions) *Certificates {
	return newCertificates(&Cluster{opts: Options{Namespace: "weir-system", Log: slog.New(slog.DiscardHandler)}}, s, o)
}

// verify plays one connection: what a node has read of its Secret, and what the
// controller uses.
func verify(node pki.Data, c *Certificates) error {
	server, err := tls.X509KeyPair(node[pki.Cert], node[pki.Key])
	if err != nil {
		return fmt.Errorf("node's files: %w", err)
	}
	own, believed, err := c.Credentials().Load()
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(node[pki.Trusted])
	now := time.Now()
	if _, err := server.Leaf.Verify(x509.VerifyOptions{DNSName: "weir", Roots: believed, CurrentTime: now}); err != nil {
		return fmt.Errorf("controller refuses the node: %w", err)
	}
	_, err = own.Leaf.Verify(x509.VerifyOptions{Roots: clients, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("node refuses the controller: %w", err)
	}
	return nil
}

func mustKeep(t *testing.T, c *Certificates) {
	t.Helper()
	if err := c.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
}
