package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// bird is BIRD 2 as the article's client: another implementation at the other
// end of our sessions.
type bird struct {
	*member
	socket string
}

// startBird runs BIRD as AS 65101 with a session to each neighbour of AS
// 64512, announcing the prefixes.
func (m *member) startBird(neighbours map[string]string, prefixes ...string) *bird {
	m.t.Helper()
	var conf strings.Builder
	fmt.Fprintf(&conf, "router id %s;\nprotocol device {}\n", m.address)
	conf.WriteString("protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }\n")
	conf.WriteString("protocol static { ipv4;\n")
	for _, p := range prefixes {
		fmt.Fprintf(&conf, "  route %s blackhole;\n", p)
	}
	conf.WriteString("}\n")
	for name, address := range neighbours {
		fmt.Fprintf(&conf, `protocol bgp %s {
  local %s as 65101;
  neighbor %s as 64512;
  hold time 3;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; };
}
`, name, m.address, address)
	}
	b := &bird{member: m, socket: filepath.Join(m.dir, "bird.ctl")}
	file := filepath.Join(m.dir, "bird.conf")
	must(m.t, os.WriteFile(file, []byte(conf.String()), 0o600))
	cmd := m.command(m.t.Context(), "bird", "-f", "-c", file, "-s", b.socket)
	log, err := os.Create(filepath.Join(m.dir, "bird.log"))
	must(m.t, err)
	cmd.Stdout, cmd.Stderr = log, log
	must(m.t, cmd.Start())
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // reports the kill
		log.Close()
	})
	eventually(m.t, 5*time.Second, "BIRD answers", func() string {
		if _, err := os.Stat(b.socket); err != nil {
			return err.Error()
		}
		return ""
	})
	return b
}

func (b *bird) ask(question ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "birdc", append([]string{"-s", b.socket}, question...)...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("birdc %s: %v\n%s", strings.Join(question, " "), err, out)
	}
	return string(out)
}

var (
	birdPath = regexp.MustCompile(`(?m)^\s*(?:\S+/\d+)?\s+unicast \[(\S+) [^\]]*\] (\*?)`)
	birdAttr = regexp.MustCompile(`(?m)^\s*BGP\.(as_path|med|local_pref|next_hop): (.*?)\s*$`)
)

// paths prints what BIRD has for a prefix, best first: protocol, a star for
// the best, AS path and MED.
func (b *bird) paths(prefix string) string {
	b.t.Helper()
	text := b.ask("show", "route", "all", "for", prefix)
	var out []string
	starts := birdPath.FindAllStringSubmatchIndex(text, -1)
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		attrs := make(map[string]string)
		for _, a := range birdAttr.FindAllStringSubmatch(text[at[0]:end], -1) {
			attrs[a[1]] = a[2]
		}
		med := attrs["med"]
		if med == "" {
			med = "none"
		}
		out = append(out, fmt.Sprintf("%s%s as_path %s med %s", text[at[2]:at[3]], text[at[4]:at[5]], attrs["as_path"], med))
	}
	return strings.Join(out, "\n")
}

var birdWithdraws = regexp.MustCompile(`Import withdraws:\s+(\d+)`)

// withdraws counts the prefixes that a session ever withdrew.
func (b *bird) withdraws(session string) string {
	b.t.Helper()
	m := birdWithdraws.FindStringSubmatch(b.ask("show", "protocols", "all", session))
	if m == nil {
		return "no counter"
	}
	return m[1]
}
