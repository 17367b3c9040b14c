package main

import (
	"encoding/json"
	"testing"
)

// A machine that has all but CAP_SYS_RESOURCE (bit 24).
const lacking = "Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\n"

func TestTrim(t *testing.T) {
	all := `["` // what Docker 20.10 asks for: the first 38 names
	for i, n := range names[:privileged+1] {
		if i > 0 {
			all += `","`
		}
		all += "CAP_" + n
	}
	all += `"]`
	for name, row := range map[string]struct {
		process       string
		want, refused []string
		score         float64
	}{
		"privileged": {`{"capabilities":{"bounding":` + all + `},"oomScoreAdj":-500}`, []string{"CAP_NET_ADMIN", "CAP_BPF"}, []string{"CAP_SYS_RESOURCE"}, 0},
		"a few":      {`{"capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_RESOURCE"]},"oomScoreAdj":10}`, []string{"CAP_CHOWN"}, []string{"CAP_SYS_RESOURCE", "CAP_BPF"}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := bounding(lacking)
			if err != nil {
				t.Fatal(err)
			}
			var process map[string]any
			if err := json.Unmarshal([]byte(row.process), &process); err != nil {
				t.Fatal(err)
			}
			trim(process, have)
			b, _ := json.Marshal(process)
			var got struct {
				Capabilities struct{ Bounding []string }
				OomScoreAdj  float64
			}
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			has := map[string]bool{}
			for _, c := range got.Capabilities.Bounding {
				has[c] = true
			}
			for _, c := range row.want {
				if !has[c] {
					t.Errorf("%s is missing in %v", c, got.Capabilities.Bounding)
				}
			}
			for _, c := range row.refused {
				if has[c] {
					t.Errorf("%s is still asked for", c)
				}
			}
			if got.OomScoreAdj != row.score {
				t.Errorf("oomScoreAdj %v, want %v", got.OomScoreAdj, row.score)
			}
		})
	}
	if _, err := bounding("Name:\tx\n"); err == nil {
		t.Error("a status without CapBnd was read")
	}
}

func TestRequest(t *testing.T) {
	for args, want := range map[[5]string]string{
		{"--root", "/r", "create", "--bundle", "/b"}: "/b/config.json",
		{"run", "--bundle=/b", "id", "", ""}:         "/b/config.json",
		{"exec", "--process", "/p", "id", ""}:        "/p",
		{"state", "id", "", "", ""}:                  "",
	} {
		if got, _ := request(args[:]); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}
