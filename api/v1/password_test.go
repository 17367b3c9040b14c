package v1

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

const secret Password = "s3cret-of-the-router"

func withPassword(p Password) NodeState {
	return NodeState{BGP: &BGP{ASN: 64512, RouterID: netip.MustParseAddr("192.168.80.10"), Peers: []Peer{
		{Address: netip.MustParseAddr("192.168.80.1"), ASN: 65101, Role: PeerExternal, Password: p},
	}}}
}

func TestPasswordIsNotShown(t *testing.T) {
	peer := withPassword(secret).BGP.Peers[0]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("peer", "password", secret, "peer", peer)
	redacted, err := json.Marshal(DesiredState{"controller": withPassword(secret)}.Redacted())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", peer), "%+v": fmt.Sprintf("%+v", peer), "%#v": fmt.Sprintf("%#v", peer), "String": secret.String(),
		"log": log.String(), "GET": string(redacted),
	} {
		if strings.Contains(text, string(secret)) || !strings.Contains(text, string(RedactedPassword)) {
			t.Errorf("%s shows %s", name, text)
		}
	}
}

func TestPasswordTravels(t *testing.T) {
	state := withPassword(secret)
	body, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeState(body)
	if err != nil || got.BGP.Peers[0].Password != secret {
		t.Errorf("the password did not arrive: %v", err)
	}
	state.Redacted()
	if state.BGP.Peers[0].Password != secret {
		t.Error("Redacted changed the state itself")
	}
}

// A password without its quotes is refused, and must not be in what is logged then.
func TestARefusedPasswordIsNotShown(t *testing.T) {
	for _, sent := range []string{`20031147`, `["20031147"]`, `{"20031147": 1}`} {
		_, err := DecodeState([]byte(`{"bgp": {"peers": [{}, {"password": ` + sent + `}]}}`))
		if err == nil || strings.Contains(err.Error(), "20031147") || !strings.HasPrefix(err.Error(), "bgp.peers[1].password: ") {
			t.Errorf("%s: got %v", sent, err)
		}
	}
}

func TestPasswordIsChecked(t *testing.T) {
	for _, tt := range []struct {
		password Password
		want     string
	}{
		{"", ""},
		{secret, ""},
		{Password(strings.Repeat("x", 80)), ""},
		{Password(strings.Repeat("x", 81)), "81 bytes"},
		{"two\nlines", "control character"},
		{RedactedPassword, "send the password itself"},
	} {
		err := ValidateState(withPassword(tt.password))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%d bytes: %v", len(tt.password), err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "bgp.peers[0].password")):
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
