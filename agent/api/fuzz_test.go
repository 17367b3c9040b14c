package api

import (
	"encoding/json"
	"slices"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
)

// FuzzPutState and FuzzPatchState hold that no body brings out anything but the documented
// statuses, that a refusal says why, and that what was taken can be read.
func FuzzPutState(f *testing.F) {
	f.Add("controller", []byte(body(6, goodService)))
	f.Add("controller", []byte(body(4, badService)))
	f.Add("file", []byte(`{"bgp":{"asn":64512,"routerID":"192.0.2.1","peers":[{}]}}`))
	f.Add("a/b", []byte(`{}`))
	f.Add("controller", []byte(`{"services":[{"vip":"::1%eth0","port":1}]}`))
	f.Fuzz(func(t *testing.T, owner string, state []byte) { sendAnything(t, "PUT", owner, state) })
}

func FuzzPatchState(f *testing.F) {
	f.Add("controller", []byte(change(5, 6, `"upsert":[`+badService+`,`+badService+`]`)))
	f.Add("controller", []byte(change(5, 6, `"remove":[{"vip":"192.0.2.1","port":80,"protocol":"tcp"},{}],"roles":[]`)))
	f.Add("file", []byte(`{"generation":{"sequence":1},"bgp":{"asn":64512,"routerID":"192.0.2.1"}}`))
	f.Fuzz(func(t *testing.T, owner string, state []byte) { sendAnything(t, "PATCH", owner, state) })
}

// sendAnything sends a body to a server that holds generation 1.5 of owner
// controller.
func sendAnything(t *testing.T, method, owner string, state []byte) {
	h := newServer(dataplane{}, Limits{}).Handler()
	request(h, "PUT", "/v1/state/controller", "application/json", body(5, goodService))
	path := "/v1/state/" + owner
	if !validPath(path) {
		t.Skip("no path of a request")
	}
	status, got, _ := request(h, method, path, "application/json", string(state))
	switch {
	case status == 200:
		if status, got, _ := request(h, "GET", "/v1/observed", "", ""); status != 200 || !json.Valid([]byte(got)) {
			t.Fatalf("observed: %d %s", status, got)
		}
	case status == 301 || status == 307:
		// net/http cleans paths such as /v1/state/../x.
	case slices.Contains([]int{400, 404, 405, 409, 413}, status):
		var e v1.Error
		if err := json.Unmarshal([]byte(got), &e); err != nil || e.Message == "" {
			t.Fatalf("%d without a reason: %s", status, got)
		}
	default:
		t.Fatalf("status %d: %s", status, got)
	}
}

// validPath tells whether httptest can make a request of path: it takes bytes
// off a URL that an HTTP client could send.
func validPath(path string) bool {
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || c == '%' || c == '?' || c == '#' {
			return false
		}
	}
	return true
}
