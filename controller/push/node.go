package push

import (
	"context"
	"fmt"
	"net/netip"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Node is the API of one node.
type Node interface {
	// PutState replaces the owner's state. A *Conflict says that the node
	// holds a state of the owner that is as new, or newer, a *Refused that it
	// does not take it for a field.
	PutState(ctx context.Context, owner string, state v1.NodeState) error
	// PatchState changes the owner's state. A *Conflict says that the node
	// does not hold the change's base.
	PatchState(ctx context.Context, owner string, change v1.NodeChange) error
	// OwnerStatus says which of the owner's states the node holds; the zero
	// generation stands for none.
	OwnerStatus(ctx context.Context, owner string) (v1.OwnerStatus, error)
	// Report says which of the owner's services lead nowhere on the node.
	Report(ctx context.Context, owner string) (v1.OwnerReport, error)
	// Close ends idle connections.
	Close()
}

// Conflict is a node's answer to a state that is not newer than what it holds.
type Conflict struct{ Current v1.Generation }

// Error says what to do about it.
func (c *Conflict) Error() string {
	return fmt.Sprintf("the node holds generation %s of another controller; stop one of the two", c.Current)
}

// Refused is a node's answer to a state with a field that cannot be there, or that
// its version does not know.
type Refused struct {
	// Path leads to the field.
	Path string
	Err  error
}

// Error is what the node said.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap returns the answer.
func (r *Refused) Unwrap() error { return r.Err }

// Target is a node with what it should have.
type Target struct {
	Name    string
	Address netip.Addr
	// APIPort is where the node's API listens.
	APIPort uint16
	// Role is v1.NodeLB or v1.NodePeer, Active that the node has rank 0 for
	// an address. Both are for people only.
	Role   string
	Active bool
	// State without its generation, which Pusher counts.
	State v1.NodeState
}

// key names a node's API.
func (t Target) key() netip.AddrPort { return netip.AddrPortFrom(t.Address, t.APIPort) }
