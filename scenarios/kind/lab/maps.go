package lab

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// Rows are what a map that weir has pinned on the machine holds: values by their keys, both as they lie in memory, in
// hexadecimal.
func (m Machine) Rows(ctx context.Context, name string) (rows map[string]string, err error) {
	pid, err := process(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	pins, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/sys/fs/bpf/weir/*/maps/%s", pid, name))
	if err != nil {
		return nil, err
	}
	if len(pins) != 1 {
		return nil, fmt.Errorf("look up map %s of %s: %d are pinned, not 1: %w", name, m.Name, len(pins), os.ErrNotExist)
	}
	pinned, err := ebpf.LoadPinnedMap(pins[0], &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open map %s of %s: %w", name, m.Name, err)
	}
	defer func() { err = errors.Join(err, pinned.Close()) }()
	rows = map[string]string{}
	var key, value []byte
	all := pinned.Iterate()
	for all.Next(&key, &value) {
		rows[hex.EncodeToString(key)] = hex.EncodeToString(value)
	}
	return rows, all.Err()
}
