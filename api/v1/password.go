package v1

import "fmt"

// Password is a secret that both ends of a BGP session sign their segments
// with (RFC 2385). It travels as it is in what an owner sends and in the state
// file, which only root reads; whoever prints, logs or GETs it finds
// RedactedPassword. (encoding/json alone shows it: it is how states travel.)
type Password string

// RedactedPassword stands where there is a password that is not shown. It is
// refused as a password, so that a state which was read cannot be sent back
// by mistake.
const RedactedPassword Password = "(redacted)"

// MaxPassword in bytes is Linux's limit, TCP_MD5SIG_MAXKEYLEN.
const MaxPassword = 80

var _ fmt.Stringer = Password("")

// Redacted is RedactedPassword for a password, and empty for none.
func (p Password) Redacted() Password {
	if p == "" {
		return ""
	}
	return RedactedPassword
}

// String hides the password from fmt, and so from logs in the text format.
func (p Password) String() string { return string(p.Redacted()) }

// GoString hides the password from fmt's %#v.
func (p Password) GoString() string { return fmt.Sprintf("%q", string(p.Redacted())) }

// check says what is wrong with the password, never what it is.
func (p Password) check() string {
	switch {
	case p == RedactedPassword:
		return "is what a GET shows in its place; send the password itself"
	case len(p) > MaxPassword:
		return fmt.Sprintf("has %d bytes, Linux takes at most %d", len(p), MaxPassword)
	}
	for _, c := range []byte(p) {
		if c < ' ' || c == 0x7f {
			return "has a control character; remove it"
		}
	}
	return ""
}

// Redacted returns s without its passwords. s does not change.
func (s NodeState) Redacted() NodeState {
	if s.BGP == nil {
		return s
	}
	b := *s.BGP
	b.Peers = append([]Peer(nil), b.Peers...)
	for i := range b.Peers {
		b.Peers[i].Password = b.Peers[i].Password.Redacted()
	}
	s.BGP = &b
	return s
}

// Redacted returns d without its passwords. d does not change.
func (d DesiredState) Redacted() DesiredState {
	out := make(DesiredState, len(d))
	for owner, s := range d {
		out[owner] = s.Redacted()
	}
	return out
}
