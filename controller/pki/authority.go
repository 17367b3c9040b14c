package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Authority returns what the authority must be, and why that is not what there
// is; an empty why says that nothing changes. settled says that the nodes have
// known the next authority (Announced) for as long as they need to read it.
func Authority(have Data, settled bool, now time.Time) (must Data, why string, err error) {
	current, currentErr := readAuthority(have[Cert], have[Key], now)
	_, nextErr := readAuthority(have[nextCert], have[nextKey], now)
	must = maps.Clone(have)
	switch {
	case currentErr == nil && nextErr == nil && settled:
		why = "the next authority is trusted by now"
		promote(must)
	case currentErr == nil && nextErr != nil && due(current.cert, now):
		why = "two thirds of the authority's life are over"
		must[nextCert], must[nextKey], err = newAuthority(now)
	case currentErr != nil && nextErr == nil:
		why = currentErr.Error()
		promote(must)
	case currentErr != nil:
		why = currentErr.Error()
		must = Data{Trusted: have[Trusted]}
		must[Cert], must[Key], err = newAuthority(now)
	}
	if err != nil {
		return nil, "", err
	}
	must[Trusted] = trusted(must, now)
	if why == "" && !bytes.Equal(must[Trusted], have[Trusted]) {
		why = "what is trusted is incomplete, or has ended in part"
	}
	return must, why, nil
}

// Announced says that nodes trust the authority's next signer by their files.
func Announced(authority, nodes Data) bool {
	next := certificates(authority[nextCert])
	return len(next) > 0 && contains(nodes[Trusted], next[0])
}

// promote lets the next authority sign. The key of the one before is gone.
func promote(d Data) {
	d[Cert], d[Key] = d[nextCert], d[nextKey]
	delete(d, nextCert)
	delete(d, nextKey)
}

func newAuthority(now time.Time) (cert, key []byte, err error) {
	t := template("weir "+now.UTC().Format(time.DateOnly), now, authorityLife)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.MaxPathLenZero = true
	t.KeyUsage = x509.KeyUsageCertSign
	return signer{}.sign(t)
}

// readAuthority reads a pair that may sign now.
func readAuthority(cert, key []byte, now time.Time) (signer, error) {
	if len(cert) == 0 && len(key) == 0 {
		return signer{}, errors.New("there is none")
	}
	s, err := read(cert, key)
	switch {
	case err != nil:
		return s, fmt.Errorf("the authority cannot be read: %w", err)
	case !s.cert.IsCA:
		return s, errors.New("the authority's certificate is none of an authority")
	case over(s.cert, now):
		return s, fmt.Errorf("the authority is good from %s to %s alone", s.cert.NotBefore.Format(time.DateOnly), s.cert.NotAfter.Format(time.DateOnly))
	}
	return s, nil
}

// trusted is the bundle of all authorities that have not ended: the one that
// signs, the next, and those before.
func trusted(d Data, now time.Time) []byte {
	var out []byte
	for _, part := range [][]byte{d[Cert], d[nextCert], d[Trusted]} {
		for _, c := range certificates(part) {
			if now.Before(c.NotAfter) && !contains(out, c) {
				out = append(out, encode(c.Raw)...)
			}
		}
	}
	return out
}
