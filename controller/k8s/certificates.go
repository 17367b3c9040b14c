package k8s

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-lb/weir/api/transport"
	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/pki"
)

// The Secrets in the controller's namespace. Nodes mount NodesSecret and no
// other: the key that signs is not on them.
const (
	AuthoritySecret  = "weir-ca"
	NodesSecret      = "weir-tls"
	ControllerSecret = "kube-weir-tls"
)

// madeBy is the label of Secrets that the controller made. One without it is a
// person's: it is used, and never written.
const madeBy = "weir-lb.io/made-by"

// CertificatesOptions of a Certificates. The zero value is right.
type CertificatesOptions struct {
	// Every is how often the Secrets are looked at, Retry how soon again after
	// a failure. Optional; zero means 1 min and 5 s.
	Every, Retry time.Duration
	// Settle is how long nodes are given to read their files after those have
	// changed, before anything is used that needs it. A kubelet takes 2 min.
	// Optional; zero means 10 min.
	Settle time.Duration
}

// Certificates keeps those by which the controller and the nodes know each
// other in three Secrets: makes them where there are none, and anew before they
// end. It must not be used concurrently, but for Credentials and Problems.
type Certificates struct {
	secrets secretClient
	opts    CertificatesOptions
	cluster *Cluster
	held    transport.Held
	// announced is since when this process has seen the next authority in the
	// nodes' Secret; zero while it has not.
	announced time.Time

	mu   sync.Mutex
	said string // the last failure, empty after a success
}

// secretClient is the part of client-go's that is used.
type secretClient interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.Secret, error)
	Create(ctx context.Context, s *corev1.Secret, o metav1.CreateOptions) (*corev1.Secret, error)
	Update(ctx context.Context, s *corev1.Secret, o metav1.UpdateOptions) (*corev1.Secret, error)
}

// NewCertificates returns one that does nothing before Run.
func (c *Cluster) NewCertificates(o CertificatesOptions) *Certificates {
	return newCertificates(c, c.client.CoreV1().Secrets(c.opts.Namespace), o)
}

func newCertificates(c *Cluster, secrets secretClient, o CertificatesOptions) *Certificates {
	o.Every = cmp.Or(o.Every, time.Minute)
	o.Retry = cmp.Or(o.Retry, 5*time.Second)
	o.Settle = cmp.Or(o.Settle, 10*time.Minute)
	return &Certificates{cluster: c, secrets: secrets, opts: o}
}

// Credentials are the controller's, as they are at any time. Safe for
// concurrent use.
func (c *Certificates) Credentials() transport.Credentials { return &c.held }

// Run keeps the Secrets until ctx ends, where this process leads; where it does
// not, it only follows them. Failures are logged, and tried again.
func (c *Certificates) Run(ctx context.Context, leads bool) error {
	pass := c.follow
	if leads {
		pass = c.keep
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		err := pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.tell(err)
		if err != nil {
			next.Reset(c.opts.Retry)
		} else {
			next.Reset(c.opts.Every)
		}
	}
}

// tell says each failure once.
func (c *Certificates) tell(err error) {
	said := ""
	if err != nil {
		c.held.Lack(err)
		said = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if said != "" && said != c.said {
		c.cluster.opts.Log.Warn("certificates: trying again", "error", said)
	}
	c.said = said
}

// Problems says why the certificates are not what they must be; none where they
// are. What was in use is still, until it ends. Safe for concurrent use.
func (c *Certificates) Problems() []v1.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == "" {
		return nil
	}
	return []v1.Problem{{Object: "certificates", Reason: "CertificatesNotKept", Message: c.said}}
}

// follow uses what the leader has made.
func (c *Certificates) follow(ctx context.Context) error {
	own, err := c.get(ctx, ControllerSecret)
	if err != nil {
		return err
	}
	if own.ResourceVersion == "" {
		return fmt.Errorf("secret %s: the leader has not made it yet", c.name(ControllerSecret))
	}
	return c.use(own)
}

// keep makes all three what they must be, and uses the result.
func (c *Certificates) keep(ctx context.Context) error {
	nodes, err := c.get(ctx, NodesSecret)
	if err != nil {
		return err
	}
	own, err := c.get(ctx, ControllerSecret)
	switch {
	case err != nil:
		return err
	case foreign(nodes) && foreign(own):
		return c.use(own)
	case foreign(nodes) != foreign(own):
		theirs, other := NodesSecret, ControllerSecret
		if foreign(own) {
			theirs, other = other, theirs
		}
		return fmt.Errorf("secret %s is not the controller's, so it does not make %[2]s either: create %[2]s too, of the same CA, or delete %[3]s",
			c.name(theirs), other, theirs)
	}
	authority, err := c.keepAuthority(ctx, nodes)
	if err != nil {
		return err
	}
	if _, err = c.keepCertificate(ctx, nodes, pki.Nodes, authority); err != nil {
		return err
	}
	if own, err = c.keepCertificate(ctx, own, pki.Controller, authority); err != nil {
		return err
	}
	return c.use(own)
}

// keepAuthority returns what the authority's Secret holds when it is what it
// must be.
func (c *Certificates) keepAuthority(ctx context.Context, nodes *corev1.Secret) (pki.Data, error) {
	o, err := c.get(ctx, AuthoritySecret)
	if err != nil || foreign(o) {
		return o.Data, err
	}
	now := time.Now()
	switch {
	case !pki.Announced(o.Data, nodes.Data):
		c.announced = time.Time{}
	case c.announced.IsZero():
		c.announced = now
	}
	settled := !c.announced.IsZero() && now.Sub(c.announced) >= c.opts.Settle
	must, why, err := pki.Authority(o.Data, settled, now)
	if err != nil || why == "" {
		return o.Data, err
	}
	o, err = c.put(ctx, o, must, why)
	return o.Data, err
}

// keepCertificate returns a Secret that is what it must be.
func (c *Certificates) keepCertificate(ctx context.Context, o *corev1.Secret, use pki.Use, authority pki.Data) (*corev1.Secret, error) {
	must, why, err := pki.Certificate(o.Data, use, authority, time.Now())
	switch {
	case err != nil:
		return o, fmt.Errorf("secret %s: %w; repair it, or delete it to have a new one made", c.name(AuthoritySecret), err)
	case why == "":
		return o, nil
	}
	return c.put(ctx, o, must, why)
}

// use has connections made from now on show the certificate of a Secret.
func (c *Certificates) use(o *corev1.Secret) error {
	if err := c.held.Set(o.Data[pki.Cert], o.Data[pki.Key], o.Data[pki.Trusted]); err != nil {
		return fmt.Errorf("secret %s: %w; it needs tls.crt, tls.key and ca.crt", c.name(o.Name), err)
	}
	return nil
}

// foreign says that a Secret is there and was made by somebody else.
func foreign(o *corev1.Secret) bool {
	return o.ResourceVersion != "" && o.Labels[madeBy] == ""
}

// get reads a Secret. One that does not exist has no version, and is the
// controller's to make.
func (c *Certificates) get(ctx context.Context, name string) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o, err := c.secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: c.cluster.opts.Namespace, Labels: map[string]string{madeBy: "kube-weir"}},
			Type:       corev1.SecretTypeTLS,
		}, nil
	}
	if err != nil {
		return &corev1.Secret{}, fmt.Errorf("read secret %s: %w", c.name(name), err)
	}
	return o, nil
}

// put writes a Secret as of the version that was read, so that of two
// controllers one fails, and reads what the other has made.
func (c *Certificates) put(ctx context.Context, o *corev1.Secret, data pki.Data, why string) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o = o.DeepCopy()
	o.Data = data
	write := func() (*corev1.Secret, error) { return c.secrets.Update(ctx, o, metav1.UpdateOptions{}) }
	if o.ResourceVersion == "" {
		write = func() (*corev1.Secret, error) { return c.secrets.Create(ctx, o, metav1.CreateOptions{}) }
	}
	done, err := write()
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return &corev1.Secret{}, fmt.Errorf("write secret %s: somebody else wrote it: %w", c.name(o.Name), err)
	case err != nil:
		return &corev1.Secret{}, fmt.Errorf("write secret %s: %w", c.name(o.Name), err)
	}
	c.cluster.opts.Log.Info("certificates written", "secret", c.name(o.Name), "why", why)
	return done, nil
}

func (c *Certificates) name(secret string) string { return c.cluster.opts.Namespace + "/" + secret }
