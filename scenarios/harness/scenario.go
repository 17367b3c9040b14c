package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/weir-lb/weir/api/client"
	"github.com/weir-lb/weir/topo"
	"github.com/weir-lb/weir/topo/spec"
)

// cleanupTimeout bounds taking a topology down, and what a report collects.
const cleanupTimeout = 30 * time.Second

// Options of Up. The zero value takes the page as it stands.
type Options struct {
	// Hook is tc or xdp: where weir takes packets. xdp also sets the offloads
	// that native XDP on veth needs. Optional.
	Hook string
	// Vars take the place of the page's. Optional.
	Vars map[string]string
	// Unrecorded leaves out the recording of every link into a pcap file, for
	// traffic whose speed or amount counts.
	Unrecorded bool
	// NoProcesses builds the network only.
	NoProcesses bool
	// Change makes the page another before it is built: one client, one flag.
	// What it leaves must be a page that Load would take. Optional.
	Change func(*spec.Page)
}

// Scenario is a running topology and what the harness knows of it.
type Scenario struct {
	*topo.Topology

	artifacts string // folder, gone at the end unless a spec failed
	recorded  bool   // links are recorded into pcap files
	failures  int    // specs that failed while the scenario stood
	clients   map[string]*client.Client
	sequence  uint64 // of the last state sent
	captures  []*recording
}

// present is the state of the spec that runs.
var present struct {
	scenarios []*Scenario
	steps     []*step
}

// Up brings a topology of the catalog, or of a page beside the suite, up for
// as long as the spec or container runs; a failure fails the spec.
func Up(ctx context.Context, page string, o Options) *Scenario {
	ginkgo.GinkgoHelper()
	s, err := up(ctx, page, o)
	if s != nil {
		ginkgo.DeferCleanup(s.cleanup)
	}
	if err != nil {
		ginkgo.Fail(err.Error())
	}
	return s
}

func up(ctx context.Context, page string, o Options) (*Scenario, error) {
	p, err := topo.Load(page)
	if err != nil {
		return nil, err
	}
	if o.Change != nil {
		o.Change(p)
	}
	bin, err := binDir()
	if err != nil {
		return nil, err
	}
	t, err := topo.Up(ctx, p, topo.Options{
		BinDir: bin, Hook: o.Hook, Vars: o.Vars, NoProcesses: o.NoProcesses, Keep: keep(),
	})
	if err != nil {
		return nil, err
	}
	s := &Scenario{Topology: t, clients: map[string]*client.Client{}, recorded: !o.Unrecorded}
	present.scenarios = append(present.scenarios, s)
	suiteLeaks.built = append(suiteLeaks.built, t.ID())
	if s.artifacts, err = artifactsDir(p.Name + "-" + t.ID()); err != nil {
		return s, err
	}
	return s, s.startRecording()
}

// folder is where the next failure leaves what it has.
func (s *Scenario) folder() string { return filepath.Join(s.artifacts, fmt.Sprint(s.failures+1)) }

// artifactsDir makes a folder for one topology.
func artifactsDir(name string) (string, error) {
	parent := os.Getenv("WEIR_ARTIFACTS")
	if parent == "" {
		dir, err := os.MkdirTemp(suiteLeaks.outer, "weir-"+name+"-")
		if err != nil {
			return "", fmt.Errorf("make folder of artifacts: %w", err)
		}
		return dir, nil
	}
	dir, err := filepath.Abs(filepath.Join(parent, name))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", fmt.Errorf("make folder of artifacts (WEIR_ARTIFACTS): %w", err)
	}
	return dir, nil
}

// keep tells whether the user wants to look at a failed topology.
func keep() bool { return os.Getenv("WEIR_KEEP") != "" }

// cleanup ends the scenario. What it cannot remove fails the spec.
func (s *Scenario) cleanup() error {
	present.scenarios = slices.DeleteFunc(present.scenarios, func(o *Scenario) bool { return o == s })
	for _, c := range s.clients {
		c.Close()
	}
	unused := s.folder()
	if s.failures == 0 {
		unused = s.artifacts
	}
	err := errors.Join(s.stopRecording(), os.RemoveAll(unused))
	if s.failures > 0 && keep() {
		return errors.Join(err, s.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	return errors.Join(err, s.Down(ctx))
}
