package restart

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/scenarios/article/lab"
)

// held lists what weir has made on a node and what would tell that it was
// touched: routes, neighbours, the ids behind the pins, the bytes of its state.
func held(ctx context.Context, l *lab.Lab, name, pins string) []string {
	GinkgoHelper()
	n := l.Node(name)
	var all []string
	for _, command := range []string{"ip route show table all", "ip neigh show"} {
		words := strings.Fields(command)
		out, err := n.Run(ctx, words[0], words[1:]...)
		Expect(err).NotTo(HaveOccurred())
		for line := range strings.Lines(out) {
			if words[1] == "route" || strings.Contains(line, "PERMANENT") { // the others come and go by themselves
				all = append(all, words[1]+" "+strings.TrimSpace(line))
			}
		}
	}
	ids := func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		id, err := behind(path)
		all = append(all, id)
		return err
	}
	files := func(path string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%s %x", f.Name(), sha256.Sum256(b)))
		return err
	}
	Expect(filepath.WalkDir(pins, ids)).To(Succeed())
	Expect(filepath.WalkDir(filepath.Join(n.Dir(), "state"), files)).To(Succeed())
	return all
}

// behind tells which map or program is pinned at a path.
func behind(path string) (string, error) {
	name := filepath.Base(path)
	if at, err := os.Stat(path); err != nil || at.IsDir() {
		return name, err
	}
	m, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if err == nil {
		defer m.Close()
		info, err := m.Info()
		if err != nil {
			return "", err
		}
		id, _ := info.ID()
		return fmt.Sprintf("%s map %d", name, id), nil
	}
	at, linkErr := link.LoadPinnedLink(path, nil)
	if linkErr != nil {
		return "", fmt.Errorf("%s is neither map nor link: %w", path, errors.Join(err, linkErr))
	}
	defer at.Close()
	info, err := at.Info()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s link %d, program %d", name, info.ID, info.Program), nil
}
