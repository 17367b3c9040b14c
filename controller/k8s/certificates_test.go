package k8s

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-lb/weir/controller/pki"
)

func TestCertificatesAreMadeOnce(t *testing.T) {
	store := newSecretStore()
	mustKeep(t, keeper(store, CertificatesOptions{}))
	if want := []string{"create weir-ca", "create weir-tls", "create kube-weir-tls"}; !slices.Equal(store.writes, want) {
		t.Errorf("wrote %q, want %q", store.writes, want)
	}
	again := keeper(store, CertificatesOptions{})
	mustKeep(t, again)
	if len(store.writes) != 3 {
		t.Errorf("the next leader wrote %q", store.writes[3:])
	}
	nodes := store.objects[NodesSecret].Data
	if err := verify(nodes, again); err != nil {
		t.Error(err)
	}
	if got := slices.Sorted(maps.Keys(nodes)); !slices.Equal(got, []string{"ca.crt", "tls.crt", "tls.key"}) {
		t.Errorf("nodes get %q, want no key that signs", got)
	}
	pair, err := tls.X509KeyPair(nodes[pki.Cert], nodes[pki.Key])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(nodes[pki.Trusted])
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("with a node's certificate one may tell other nodes what to do")
	}
}

// TestCertificatesRotate goes through ten years with a node that reads its files
// as late as it may, and controllers that come and go.
func TestCertificatesRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every, settle = 12 * time.Hour, 36 * time.Hour
		store := newSecretStore()
		var late []pki.Data // what the Secret held, the latest last
		c := keeper(store, CertificatesOptions{Settle: settle})
		serials := map[string]map[string]bool{}
		for step := range int(10 * 365 * 24 * time.Hour / every) {
			if step%97 == 0 { // another leads
				c = keeper(store, CertificatesOptions{Settle: settle})
			}
			mustKeep(t, c)
			late = append(late, store.objects[NodesSecret].Data)
			late = late[max(0, len(late)-3):]
			for _, data := range late {
				if err := verify(data, c); err != nil {
					t.Fatalf("%s: %v", time.Now().Format(time.DateOnly), err)
				}
			}
			for name, o := range store.objects {
				if serials[name] == nil {
					serials[name] = map[string]bool{}
				}
				serials[name][string(o.Data[pki.Cert])] = true
			}
			<-time.After(every)
		}
		// 16 of 24 months; 60 of 90 days, and with each authority.
		for name, want := range map[string][2]int{AuthoritySecret: {7, 9}, NodesSecret: {60, 70}, ControllerSecret: {60, 70}} {
			if n := len(serials[name]); n < want[0] || n > want[1] {
				t.Errorf("%s had %d certificates in ten years, want %d to %d", name, n, want[0], want[1])
			}
		}
		if n := strings.Count(string(store.objects[NodesSecret].Data[pki.Trusted]), "BEGIN CERTIFICATE"); n > 3 {
			t.Errorf("%d authorities are trusted in the end", n)
		}
	})
}

// TestNextAuthorityWaitsForTheNodes is of a leader that ended between two
// writes: nodes have not heard of the authority that is to sign next.
func TestNextAuthorityWaitsForTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSecretStore()
		c := keeper(store, CertificatesOptions{})
		mustKeep(t, c)
		<-time.After(17 * 30 * 24 * time.Hour)
		store.before = func(verb, name string) error {
			if verb == "update" && name != AuthoritySecret {
				return errors.New("the apiserver ends")
			}
			return nil
		}
		if err := c.keep(t.Context()); err == nil {
			t.Fatal("no error of the write that failed")
		}
		store.before = func(string, string) error { return nil }
		signer := string(store.objects[AuthoritySecret].Data[pki.Cert])
		<-time.After(24 * time.Hour)
		c = keeper(store, CertificatesOptions{})
		for range 11 { // the first brings it to the nodes, the second sees it there
			mustKeep(t, c)
			if string(store.objects[AuthoritySecret].Data[pki.Cert]) != signer {
				t.Fatal("the next authority signs before the nodes had time to read it")
			}
			<-time.After(time.Minute)
		}
		mustKeep(t, c)
		if string(store.objects[AuthoritySecret].Data[pki.Cert]) == signer {
			t.Error("the next authority never signs")
		}
	})
}

// TestDamagedAuthorityIsFollowedByItsNext: nodes that have read their files know
// the next one, and no other.
func TestDamagedAuthorityIsFollowedByItsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSecretStore()
		c := keeper(store, CertificatesOptions{})
		mustKeep(t, c)
		<-time.After(17 * 30 * 24 * time.Hour)
		mustKeep(t, c)
		known := store.objects[NodesSecret].Data
		damaged := maps.Clone(store.objects[AuthoritySecret].Data)
		damaged[pki.Key] = nil
		store.set(secretOf(AuthoritySecret, true, damaged))
		mustKeep(t, c)
		if err := verify(known, c); err != nil {
			t.Error(err)
		}
	})
}

func TestSecretsOfOthersAreUsedAndNotWritten(t *testing.T) {
	theirs := newSecretStore()
	mustKeep(t, keeper(theirs, CertificatesOptions{}))
	data := func(name string) pki.Data { return theirs.objects[name].Data }
	for _, row := range []struct {
		says  string
		given map[string]pki.Data
		fails string
		makes []string
	}{
		{"both certificates are theirs", map[string]pki.Data{NodesSecret: data(NodesSecret), ControllerSecret: data(ControllerSecret)}, "", nil},
		{"the nodes' alone", map[string]pki.Data{NodesSecret: data(NodesSecret)}, "create kube-weir-tls too, of the same CA, or delete weir-tls", nil},
		{"the controller's alone", map[string]pki.Data{ControllerSecret: data(ControllerSecret)}, "create weir-tls too, of the same CA, or delete kube-weir-tls", nil},
		{"the controller's cannot be read", map[string]pki.Data{NodesSecret: data(NodesSecret), ControllerSecret: {"tls.crt": []byte("x")}},
			"secret weir-system/kube-weir-tls: tls: failed to find any PEM data in certificate input; it needs tls.crt, tls.key and ca.crt", nil},
		{"the authority is theirs", map[string]pki.Data{AuthoritySecret: data(AuthoritySecret)}, "", []string{"create weir-tls", "create kube-weir-tls"}},
		{"an authority that is none", map[string]pki.Data{AuthoritySecret: data(NodesSecret)},
			"secret weir-system/weir-ca: the authority's certificate is none of an authority; repair it, or delete it", nil},
	} {
		t.Run(row.says, func(t *testing.T) {
			store := newSecretStore()
			for name, d := range row.given {
				store.set(secretOf(name, false, d))
			}
			c := keeper(store, CertificatesOptions{})
			for range 2 {
				err := c.keep(t.Context())
				if row.fails == "" && err != nil || row.fails != "" && (err == nil || !strings.Contains(err.Error(), row.fails)) {
					t.Errorf("got %v, want %q", err, row.fails)
				}
			}
			if !slices.Equal(store.writes, row.makes) {
				t.Errorf("wrote %q, want %q", store.writes, row.makes)
			}
			if row.fails == "" {
				if err := verify(store.objects[NodesSecret].Data, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestSecretsAreRepaired(t *testing.T) {
	whole := newSecretStore()
	mustKeep(t, keeper(whole, CertificatesOptions{}))
	other := newSecretStore()
	mustKeep(t, keeper(other, CertificatesOptions{}))
	with := func(name, key string, value []byte) func(*secretStore) {
		return func(s *secretStore) {
			o := secretOf(name, true, maps.Clone(s.objects[name].Data))
			o.Data[key] = value
			s.set(o)
		}
	}
	for _, row := range []struct {
		says   string
		breaks func(*secretStore)
		writes []string
	}{
		{"no key", with(NodesSecret, pki.Key, nil), []string{"update weir-tls"}},
		{"half a certificate", with(ControllerSecret, pki.Cert, whole.objects[ControllerSecret].Data[pki.Cert][:99]), []string{"update kube-weir-tls"}},
		{"another's key", with(NodesSecret, pki.Key, other.objects[NodesSecret].Data[pki.Key]), []string{"update weir-tls"}},
		{"a certificate of another authority", func(s *secretStore) { s.set(secretOf(NodesSecret, true, other.objects[NodesSecret].Data)) }, []string{"update weir-tls"}},
		{"a certificate for another use", func(s *secretStore) { s.set(secretOf(NodesSecret, true, s.objects[ControllerSecret].Data)) }, []string{"update weir-tls"}},
		{"nobody is trusted", with(ControllerSecret, pki.Trusted, nil), []string{"update kube-weir-tls"}},
		{"one was deleted", func(s *secretStore) { delete(s.objects, ControllerSecret) }, []string{"create kube-weir-tls"}},
		{"a leader came no further than the authority", func(s *secretStore) { delete(s.objects, NodesSecret); delete(s.objects, ControllerSecret) },
			[]string{"create weir-tls", "create kube-weir-tls"}},
		{"the authority was deleted: all is made anew", func(s *secretStore) { delete(s.objects, AuthoritySecret) },
			[]string{"create weir-ca", "update weir-tls", "update kube-weir-tls"}},
		{"the authority has no key", with(AuthoritySecret, pki.Key, nil), []string{"update weir-ca", "update weir-tls", "update kube-weir-tls"}},
		{"the authority does not trust itself", with(AuthoritySecret, pki.Trusted, nil), []string{"update weir-ca"}},
	} {
		t.Run(row.says, func(t *testing.T) {
			store := newSecretStore(slices.Collect(maps.Values(whole.objects))...)
			row.breaks(store)
			c := keeper(store, CertificatesOptions{})
			mustKeep(t, c)
			if !slices.Equal(store.writes, row.writes) {
				t.Errorf("wrote %q, want %q", store.writes, row.writes)
			}
			if err := verify(store.objects[NodesSecret].Data, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTwoControllersMakeOneAuthority has another one write between what this
// one reads and writes.
func TestTwoControllersMakeOneAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSecretStore()
		other := keeper(store, CertificatesOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store.before = func(verb, name string) error {
			if verb == "create" {
				store.before = func(string, string) error { return nil }
				return other.keep(ctx)
			}
			return nil
		}
		c := keeper(store, CertificatesOptions{})
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, true) }()
		synctest.Wait()
		if _, _, err := c.Credentials().Load(); err == nil || !strings.Contains(err.Error(), "secret weir-system/weir-ca: somebody else wrote it") {
			t.Errorf("got %v", err)
		}
		if p := c.Problems(); len(p) != 1 || p[0].Reason != "CertificatesNotKept" || !strings.Contains(p[0].Message, "somebody else wrote it") {
			t.Errorf("problems %+v", p)
		}
		<-time.After(6 * time.Second)
		synctest.Wait()
		if len(store.writes) != 3 {
			t.Errorf("wrote %q, want each once", store.writes)
		}
		if p := c.Problems(); len(p) > 0 {
			t.Errorf("problems %+v after a success", p)
		}
		if err := errors.Join(verify(store.objects[NodesSecret].Data, c), verify(store.objects[NodesSecret].Data, other)); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestWhoStandsByFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newSecretStore()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := keeper(store, CertificatesOptions{})
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, false) }()
		synctest.Wait()
		if _, _, err := c.Credentials().Load(); err == nil || !strings.Contains(err.Error(), "the leader has not made it yet") {
			t.Errorf("got %v", err)
		}
		mustKeep(t, keeper(store, CertificatesOptions{}))
		<-time.After(6 * time.Second)
		synctest.Wait()
		if err := verify(store.objects[NodesSecret].Data, c); err != nil {
			t.Error(err)
		}
		if len(store.writes) != 3 {
			t.Errorf("it writes: %q", store.writes)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
