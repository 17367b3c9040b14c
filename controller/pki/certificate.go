package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Use is what a certificate is for.
type Use struct {
	// Name is what it carries, as its one DNS name: nodes come and go with any
	// address, so who connects checks this name and not where it connects to.
	Name string
	// Purposes are the ends of a connection that it may be shown at.
	Purposes []x509.ExtKeyUsage
}

// The uses. That of the nodes is good for no client: who takes it from one
// node cannot tell the others what to do. The controller's is also for its own
// API.
var (
	Nodes      = Use{"weir", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	Controller = Use{"kube-weir", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
)

// Certificate returns what one for use must be, signed by the authority, and
// why that is not what there is; an empty why says that nothing changes.
func Certificate(have Data, use Use, authority Data, now time.Time) (must Data, why string, err error) {
	by, err := readAuthority(authority[Cert], authority[Key], now)
	if err != nil {
		return nil, "", err
	}
	must = Data{Cert: have[Cert], Key: have[Key], Trusted: trusted(authority, now)}
	if lacks := use.lacks(have, by.cert, now); lacks != nil {
		t := template(use.Name, now, certificateLife)
		t.DNSNames = []string{use.Name}
		t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, use.Purposes
		if t.NotAfter.After(by.cert.NotAfter) {
			t.NotAfter = by.cert.NotAfter
		}
		must[Cert], must[Key], err = by.sign(t)
		return must, lacks.Error(), err
	}
	if !bytes.Equal(must[Trusted], have[Trusted]) {
		why = "other authorities are trusted"
	}
	return must, why, nil
}

// lacks says why a certificate must be made anew.
func (u Use) lacks(have Data, by *x509.Certificate, now time.Time) error {
	if len(have[Cert]) == 0 && len(have[Key]) == 0 {
		return errors.New("there is none")
	}
	s, err := read(have[Cert], have[Key])
	switch {
	case err != nil:
		return fmt.Errorf("it cannot be read: %w", err)
	case s.cert.CheckSignatureFrom(by) != nil:
		return errors.New("another authority signs")
	case !slices.Equal(s.cert.DNSNames, []string{u.Name}) || !slices.Equal(s.cert.ExtKeyUsage, u.Purposes):
		return errors.New("it is for another use")
	case due(s.cert, now):
		return errors.New("two thirds of its life are over")
	}
	return nil
}
