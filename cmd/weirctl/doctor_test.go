package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/doctor"
)

func TestReport(t *testing.T) {
	findings := []doctor.Finding{
		{Check: "kernel", Level: doctor.OK, Seen: "Linux 6.1 has all that is used"},
		{Check: "vips", Level: doctor.Warn, Seen: "service address is odd", Do: "look at it"},
	}
	const want = `OK    kernel  Linux 6.1 has all that is used
WARN  vips    service address is odd
              do: look at it
`
	var out bytes.Buffer
	if err := report(&out, false, findings); err != nil || out.String() != want {
		t.Errorf("error %v, printed\n%swant\n%s", err, out.String(), want)
	}
	findings[1].Level = doctor.Fail
	if err := report(&out, false, findings); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("with a failure: %v", err)
	}
}

// TestDoctorAsksWeir runs the command on this machine, whatever its state, with
// a weir that answers and with none.
func TestDoctorAsksWeir(t *testing.T) {
	socket := daemon(t, map[string]any{"/v1/observed": v1.ObservedState{Node: "worker1", Version: "test", Mode: v1.NodePeer}})
	for path, want := range map[string]string{socket: "weir test runs on worker1 as peer", "/nonexistent/weir.sock": "weir does not answer"} {
		code, stdout, stderr := weirctl(nil, "doctor", "--socket="+path, "-o", "json")
		var got struct {
			Level    doctor.Level     `json:"level"`
			Findings []doctor.Finding `json:"findings"`
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("exit %d, %v: %s%s", code, err, stdout, stderr)
		}
		if !strings.Contains(stdout, want) {
			t.Errorf("%s does not say %q", stdout, want)
		}
		if failed := got.Level == doctor.Fail; (code == exitFailed) != failed || (code == exitOK) == failed {
			t.Errorf("exit %d with %s", code, got.Level)
		}
	}
}

func TestDoctorStaysAtHome(t *testing.T) {
	code, _, stderr := weirctl(nil, "doctor", "--server=https://192.0.2.1:11111")
	if code != exitUsage || !strings.Contains(stderr, "run it there") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
