package k8s

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-lb/weir/controller"
	"github.com/weir-lb/weir/controller/ipam"
)

// memoryKey is where a Memory's ConfigMap has it.
const memoryKey = "memory.json"

// Memory keeps in a ConfigMap what the next leader needs and no Service says:
// the epoch, the order of the load balancer nodes, and how many objects there
// were. Addresses are in the status of their Services, for a ConfigMap holds 1
// MiB. It must not be used concurrently, and by the leader only.
type Memory struct {
	ctx     context.Context
	cluster *Cluster
	object  *corev1.ConfigMap
	content memoryContent // as it was written last
	memory  controller.Memory
	source  seen
}

// seen is what a Memory has to know of the cluster; a Source is it.
type seen interface {
	Counts() Counts
	// told lists the addresses that the status of a Service says it holds.
	told(service string) []netip.Addr
}

type memoryContent struct {
	Epoch uint64       `json:"epoch"`
	LBs   []netip.Addr `json:"lbs,omitempty"`
	// Kept is from versions that had here what no status said. It stays until
	// the status of each of these Services does.
	Kept   map[string]ipam.Hold `json:"kept,omitempty"`
	Counts Counts               `json:"counts,omitempty"`
}

// OpenMemory reads the ConfigMap, which need not exist, and starts a new epoch.
// ctx is that of the leadership: it bounds all later writing.
func (c *Cluster) OpenMemory(ctx context.Context, now time.Time) (*Memory, error) {
	m := &Memory{ctx: ctx, cluster: c}
	found, err := m.read()
	if err != nil {
		return nil, err
	}
	m.content = found
	m.memory = controller.Memory{Addresses: found.Kept, LBs: found.LBs}
	next := found
	next.Epoch = max(found.Epoch+1, uint64(now.UnixMilli()))
	return m, m.write(next)
}

// Epoch is the epoch that OpenMemory started.
func (m *Memory) Epoch() uint64 { return m.content.Epoch }

// Memory is what was saved last.
func (m *Memory) Memory() controller.Memory { return m.memory }

// Counts are those of the last leader: what a Source has to expect.
func (m *Memory) Counts() Counts { return m.content.Counts }

// Follow has every Save look at what a Source sees. It must be called before Save.
func (m *Memory) Follow(s *Source) { m.source = s }

// Save replaces the memory. It writes only what changed of what is kept in the
// cluster, and counts when they have doubled or halved. After an error the
// ConfigMap has the old one.
func (m *Memory) Save(next controller.Memory) error {
	m.memory = next
	content := m.contentOf(next)
	if sameContent(content, m.content) {
		return nil
	}
	return m.write(content)
}

func (m *Memory) contentOf(next controller.Memory) memoryContent {
	content := memoryContent{Epoch: m.content.Epoch, LBs: next.LBs, Kept: m.content.Kept, Counts: m.content.Counts}
	if m.told(next) {
		content.Kept = nil
	}
	if now := m.source.Counts(); moved(m.content.Counts, now) {
		content.Counts = now
	}
	return content
}

// told says that no address is known from here alone any more.
func (m *Memory) told(next controller.Memory) bool {
	for key, kept := range m.content.Kept {
		there := m.source.told(key)
		for _, a := range next.Addresses[key].List() {
			if slices.Contains(kept.List(), a) && !slices.Contains(there, a) {
				return false
			}
		}
	}
	return true
}

// moved says that a count has at least doubled or halved, or left zero or come
// to it.
func moved(before, now Counts) bool {
	for _, k := range kinds {
		if a, b := before[string(k)], now[string(k)]; a != b && (2*a <= b || 2*b <= a) {
			return true
		}
	}
	return false
}

func sameContent(a, b memoryContent) bool {
	if len(a.Kept) == 0 && len(b.Kept) == 0 {
		a.Kept, b.Kept = nil, nil
	}
	if len(a.LBs) == 0 && len(b.LBs) == 0 {
		a.LBs, b.LBs = nil, nil
	}
	return a.Epoch == b.Epoch && maps.Equal(a.Counts, b.Counts) && reflect.DeepEqual(a.LBs, b.LBs) && reflect.DeepEqual(a.Kept, b.Kept)
}

// read reads the ConfigMap; one that does not exist says nothing.
func (m *Memory) read() (memoryContent, error) {
	ctx, cancel := context.WithTimeout(m.ctx, requestTimeout)
	defer cancel()
	namespace, name := m.cluster.opts.Namespace, m.cluster.opts.Name
	var content memoryContent
	o, err := m.cluster.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		m.object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		return content, nil
	case err != nil:
		return content, fmt.Errorf("read memory: %w", err)
	}
	m.object = o
	if content, err = decodeMemory(o.Data[memoryKey]); err != nil {
		return content, fmt.Errorf("read memory: configmap %s/%s: %w; delete it to choose the active node anew", namespace, name, err)
	}
	return content, nil
}

// decodeMemory reads what put wrote; an empty text says nothing.
func decodeMemory(text string) (memoryContent, error) {
	var content memoryContent
	if text == "" {
		return content, nil
	}
	if err := json.Unmarshal([]byte(text), &content); err != nil {
		return memoryContent{}, err
	}
	if content.Epoch == math.MaxUint64 {
		return memoryContent{}, errors.New("no epoch is later than its own")
	}
	return content, nil
}

// write replaces the ConfigMap. The version that it carries makes the write of
// one who leads no more fail; where the object was lost or touched by a person,
// it is written again.
func (m *Memory) write(next memoryContent) error {
	err := m.put(next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		there, rerr := m.read()
		switch {
		case rerr != nil:
			return rerr
		case there.Epoch > next.Epoch:
			return fmt.Errorf("write memory: another controller leads since epoch %d; stop one of the two", there.Epoch)
		}
		err = m.put(next)
	}
	if err != nil {
		return fmt.Errorf("write memory: %w", err)
	}
	m.content = next
	return nil
}

func (m *Memory) put(content memoryContent) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(m.ctx, requestTimeout)
	defer cancel()
	o := m.object.DeepCopy()
	o.Data = map[string]string{memoryKey: string(data)}
	maps := m.cluster.client.CoreV1().ConfigMaps(o.Namespace)
	if o.ResourceVersion == "" {
		o, err = maps.Create(ctx, o, metav1.CreateOptions{})
	} else {
		o, err = maps.Update(ctx, o, metav1.UpdateOptions{})
	}
	if err != nil {
		return err
	}
	m.object = o
	return nil
}
