package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net/netip"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// Saved is what a node must know again after a restart: what each owner wants,
// and who had first what several claim. It is shared: do not change it.
type Saved struct {
	States map[string]v1.NodeState
	Claims Claims
}

// schema numbers the layout of a state file. Whoever changes the meaning of a
// field that old files have takes the next number and reads both.
const schema = 1

// savedHead is the first line of a state file. The body is the rest.
type savedHead struct {
	Schema int `json:"schema"`
	// Bytes and CRC32C (Castagnoli, RFC 3385) are of the body: a digit that
	// changed on the disk would else be another address.
	Bytes  int    `json:"bytes"`
	CRC32C uint32 `json:"crc32c"`
}

// savedBody is what follows the first line, as it is read.
type savedBody struct {
	Owners []savedOwner `json:"owners"`
	Claims savedClaims  `json:"claims"`
}

type savedOwner struct {
	Owner string          `json:"owner"`
	State json.RawMessage `json:"state"`
}

// savedClaims lists only what more than one owner claims, first come first:
// the rest follows from the states.
type savedClaims struct {
	Frontends []savedFrontend `json:"frontends,omitempty"`
	VIPs      []savedVIP      `json:"vips,omitempty"`
	BGP       []string        `json:"bgp,omitempty"`
}

type savedFrontend struct {
	v1.Frontend
	Owners []string `json:"owners"`
}

type savedVIP struct {
	VIP    netip.Addr `json:"vip"`
	Owners []string   `json:"owners"`
}

// encoder writes state files, and keeps the text of each service: with every
// change of one all of them are written. The zero value has none.
type encoder struct {
	texts map[ownedFrontend]serviceText
}

type ownedFrontend struct {
	owner string
	v1.Frontend
}

type serviceText struct {
	service v1.Service
	text    []byte
}

// encode returns the content of a state file, a savedHead and a savedBody. The
// same s gives the same bytes.
func (e *encoder) encode(s Saved) ([]byte, error) {
	last := e.texts
	e.texts = make(map[ownedFrontend]serviceText, len(last))
	body := []byte(`{"owners":[`)
	for i, o := range slices.Sorted(maps.Keys(s.States)) {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = e.owner(body, o, s.States[o], last); err != nil {
			return nil, fmt.Errorf("encode state of owner %s: %w", o, err)
		}
	}
	claims, err := json.Marshal(packClaims(s.Claims))
	if err != nil {
		return nil, fmt.Errorf("encode claims: %w", err)
	}
	return seal(fmt.Appendf(body, `],"claims":%s}`+"\n", claims)), nil
}

// owner appends a savedOwner, whose state begins with its services.
func (e *encoder) owner(body []byte, owner string, state v1.NodeState, last map[ownedFrontend]serviceText) ([]byte, error) {
	name, err := json.Marshal(owner)
	if err != nil {
		return nil, err
	}
	body = fmt.Appendf(body, `{"owner":%s,"state":{"services":[`, name)
	for i, s := range state.Services {
		if i > 0 {
			body = append(body, ',')
		}
		key := ownedFrontend{owner, s.Frontend}
		known, ok := last[key]
		same := ok && v1.EqualServices(known.service, s)
		known.service = s // not the equal one of before, which nobody else may have any more
		if !same {
			if known.text, err = json.Marshal(s); err != nil {
				return nil, err
			}
		}
		e.texts[key] = known
		body = append(body, known.text...)
	}
	state.Services = nil
	rest, err := json.Marshal(state) // which has a generation at least
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(body, "],%s}", rest[1:]), nil
}

// seal puts the first line before a body.
func seal(body []byte) []byte {
	head := fmt.Appendf(nil, `{"schema":%d,"bytes":%d,"crc32c":%d}`+"\n", schema, len(body), crc32.Checksum(body, castagnoli))
	return append(head, body...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// decodeSaved reads what an encoder wrote. Whatever is not exactly that is an
// error.
func decodeSaved(data []byte) (Saved, error) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	var head savedHead
	if err := json.Unmarshal(first, &head); err != nil || head.Schema < 1 {
		return Saved{}, errors.New("the first line is not that of a state file")
	}
	if head.Schema != schema {
		return Saved{}, fmt.Errorf("it has layout %d, this version knows %d", head.Schema, schema)
	}
	if len(rest) != head.Bytes || crc32.Checksum(rest, castagnoli) != head.CRC32C {
		return Saved{}, errors.New("its content is not what was written (length or checksum)")
	}
	var body savedBody
	d := json.NewDecoder(bytes.NewReader(rest))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return Saved{}, err
	}
	s := Saved{States: make(map[string]v1.NodeState, len(body.Owners)), Claims: body.Claims.unpack()}
	for _, o := range body.Owners {
		state, err := decodeOwner(o)
		if err != nil {
			return Saved{}, fmt.Errorf("owner %q: %w", o.Owner, err)
		}
		s.States[o.Owner] = state
	}
	return s, nil
}

func decodeOwner(o savedOwner) (v1.NodeState, error) {
	if err := v1.ValidateOwner(o.Owner); err != nil {
		return v1.NodeState{}, err
	}
	state, err := v1.DecodeState(o.State)
	if err != nil {
		return v1.NodeState{}, err
	}
	return state, v1.ValidateState(state)
}

func packClaims(c Claims) savedClaims {
	var p savedClaims
	for f, owners := range c.frontends {
		if len(owners) > 1 {
			p.Frontends = append(p.Frontends, savedFrontend{f, owners})
		}
	}
	for a, owners := range c.vips {
		if len(owners) > 1 {
			p.VIPs = append(p.VIPs, savedVIP{a, owners})
		}
	}
	slices.SortFunc(p.Frontends, func(a, b savedFrontend) int { return a.Compare(b.Frontend) })
	slices.SortFunc(p.VIPs, func(a, b savedVIP) int { return a.VIP.Compare(b.VIP) })
	if owners := c.bgp[struct{}{}]; len(owners) > 1 {
		p.BGP = owners
	}
	return p
}

func (p savedClaims) unpack() Claims {
	c := Claims{frontends: queue[v1.Frontend]{}, vips: queue[netip.Addr]{}, bgp: queue[struct{}]{}}
	for _, f := range p.Frontends {
		c.frontends[f.Frontend] = f.Owners
	}
	for _, v := range p.VIPs {
		c.vips[v.VIP] = v.Owners
	}
	if len(p.BGP) > 0 {
		c.bgp[struct{}{}] = p.BGP
	}
	return c
}
