package k8s

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// apply writes a change. A finalizer comes before the address that it guards,
// and goes after it. What it returns is how far it came, also with an error.
func (w *Writer) apply(ctx context.Context, o *corev1.Service, c change) (written, error) {
	done := written{object: o}
	steps := []func(context.Context, *written, change) error{w.putMeta, w.putStatus}
	if c.release {
		steps = []func(context.Context, *written, change) error{w.putStatus, w.putMeta}
	}
	for _, step := range steps {
		if err := step(ctx, &done, c); err != nil {
			return done, err
		}
	}
	return done, nil
}

func (w *Writer) putMeta(ctx context.Context, done *written, c change) error {
	if c.meta == nil {
		return nil
	}
	var marked any // null takes the annotation off
	if value, ok := c.meta.annotations[mark]; ok {
		marked = value
	}
	return w.patch(ctx, done, map[string]any{"metadata": map[string]any{
		"finalizers": c.meta.finalizers, "annotations": map[string]any{mark: marked},
		"resourceVersion": done.object.ResourceVersion,
	}})
}

func (w *Writer) putStatus(ctx context.Context, done *written, c change) error {
	if c.status == nil {
		return nil
	}
	return w.patch(ctx, done, map[string]any{
		"metadata": map[string]any{"resourceVersion": done.object.ResourceVersion},
		"status": map[string]any{
			"loadBalancer": map[string]any{"ingress": c.status.ingress}, "conditions": c.status.conditions,
		},
	}, "status")
}

// patch sends one merge patch. It carries the version that it was made for, so
// that nothing which somebody else wrote meanwhile is lost.
func (w *Writer) patch(ctx context.Context, done *written, body map[string]any, subresource ...string) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	o := done.object
	got, err := w.cluster.client.CoreV1().Services(o.Namespace).
		Patch(ctx, o.Name, types.MergePatchType, data, metav1.PatchOptions{}, subresource...)
	if err != nil {
		return err
	}
	if _, err := trim(got); err != nil {
		return err
	}
	done.versions = append(done.versions, o.ResourceVersion)
	done.object = got
	return nil
}
