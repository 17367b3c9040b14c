package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller/push"
)

// TestNodeSaysWhatPushTellsApart has a node answer as weir does: what it does not
// take is known by its field, a newer state by its generation.
func TestNodeSaysWhatPushTellsApart(t *testing.T) {
	stands := v1.Generation{Epoch: 8, Sequence: 1}
	for _, row := range []struct {
		says    string
		status  int
		answer  v1.Error
		path    string
		current *v1.Generation
	}{
		{"a field that its version does not know", 400, v1.Error{Message: "drained: unknown field", Path: "drained"}, "drained", nil},
		{"no field in particular", 400, v1.Error{Message: "not JSON"}, "", nil},
		{"a newer state stands", 409, v1.Error{Message: "older than 8.1", Current: &stands}, "", &stands},
		{"it is broken", 500, v1.Error{Message: "the disk is full"}, "", nil},
	} {
		t.Run(row.says, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				_ = json.NewEncoder(w).Encode(row.answer)
			}))
			defer server.Close()
			at := netip.MustParseAddrPort(server.Listener.Addr().String())
			n, err := config{}.dialer()(push.Target{Name: "master1", Address: at.Addr(), APIPort: at.Port()})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			for what, err := range map[string]error{
				"a state":  n.PutState(t.Context(), push.Owner, v1.NodeState{}),
				"a change": n.PatchState(t.Context(), push.Owner, v1.NodeChange{}),
			} {
				refused, ok := errors.AsType[*push.Refused](err)
				if err == nil || ok != (row.path != "") || ok && refused.Path != row.path {
					t.Errorf("%s: %v, refused for a field %t, want %q", what, err, ok, row.path)
				}
				conflict, ok := errors.AsType[*push.Conflict](err)
				if ok != (row.current != nil) || ok && conflict.Current != *row.current {
					t.Errorf("%s: %v, a conflict %t", what, err, ok)
				}
			}
		})
	}
}
