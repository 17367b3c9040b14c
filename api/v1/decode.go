package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// DecodeState reads a NodeState from JSON, strictly: a field that NodeState
// does not have, a field given twice and a value of the wrong type are a
// *FieldError with the path to them; so is anything that is not one JSON
// value. It does not validate: see ValidateState and ValidateService.
func DecodeState(data []byte) (NodeState, error) {
	var s NodeState
	if err := decodeStrict(data, &s); err != nil {
		return NodeState{}, err
	}
	return s, nil
}

// decodeStrict fills v, a pointer to a struct. encoding/json knows neither the
// index of a bad element nor duplicates, and takes "VIP" for "vip"; so a
// second pass walks the text beside the type.
func decodeStrict(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &FieldError{"", fmt.Sprintf("not JSON: %s: %v", position(data, syntax.Offset), err)}
	}
	// The text is valid JSON from here on; the walk relies on it.
	w := walk{data: data, leaves: err != nil, fields: map[reflect.Type]map[string]field{}}
	if werr := w.value(reflect.TypeOf(v).Elem(), nil); werr != nil {
		return werr
	}
	if err != nil {
		return &FieldError{"", err.Error()}
	}
	return nil
}

// position turns the number of bytes that were read into the place of the last
// of them, as an editor shows it.
func position(data []byte, offset int64) string {
	before := data[:min(int(offset), len(data))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return fmt.Sprintf("line %d, column %d", line, max(column, 1))
}

// walk is a cursor over valid JSON text.
type walk struct {
	data []byte
	pos  int
	// leaves asks to decode each scalar by itself, to find the one that
	// encoding/json refused.
	leaves bool
	fields map[reflect.Type]map[string]field
}

// field is a member that a struct type has.
type field struct {
	index uint // for the set of members seen; no type here has over 64
	typ   reflect.Type
}

// place is the path to a value, built into text only for an error.
type place struct {
	parent *place
	name   string // empty for an element of an array
	index  int
}

func (p *place) String() string {
	if p == nil {
		return ""
	}
	parent := p.parent.String()
	switch {
	case p.name == "":
		return parent + "[" + strconv.Itoa(p.index) + "]"
	case parent == "":
		return p.name
	}
	return parent + "." + p.name
}

// value checks the next value against t.
func (w *walk) value(t reflect.Type, at *place) error {
	w.space()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isLeaf(t) {
		return w.leaf(t, at)
	}
	open := byte('{')
	if t.Kind() == reflect.Slice {
		open = '['
	}
	switch got := w.data[w.pos]; {
	case got == 'n' && at != nil: // null is the zero value; a whole document is never none
		w.skip()
		return nil
	case got != open:
		return &FieldError{at.String(), fmt.Sprintf("expected %s, got %s", kindOf(open), kindOf(got))}
	case open == '[':
		return w.array(t.Elem(), at)
	}
	return w.object(t, at)
}

func (w *walk) object(t reflect.Type, at *place) error {
	known := w.fieldsOf(t)
	var seen uint64
	w.pos++ // {
	for w.space(); w.data[w.pos] != '}'; w.space() {
		if w.data[w.pos] == ',' {
			w.pos++
			w.space()
		}
		name := w.key()
		here := &place{parent: at, name: name}
		f, ok := known[name]
		switch {
		case !ok:
			return &FieldError{here.String(), "unknown field" + suggest(name, known)}
		case seen&(1<<f.index) != 0:
			return &FieldError{here.String(), "field given twice"}
		}
		seen |= 1 << f.index
		w.space()
		w.pos++ // :
		if err := w.value(f.typ, here); err != nil {
			return err
		}
	}
	w.pos++ // }
	return nil
}

func (w *walk) array(elem reflect.Type, at *place) error {
	w.pos++ // [
	here := &place{parent: at}
	for w.space(); w.data[w.pos] != ']'; w.space() {
		if w.data[w.pos] == ',' {
			w.pos++
		}
		if err := w.value(elem, here); err != nil {
			return err
		}
		here.index++
	}
	w.pos++ // ]
	return nil
}

// leaf passes a value that encoding/json decodes in one piece.
func (w *walk) leaf(t reflect.Type, at *place) error {
	start := w.pos
	w.skip()
	if !w.leaves {
		return nil
	}
	raw := w.data[start:w.pos]
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	if err == nil {
		return nil
	}
	if t == reflect.TypeFor[Password]() {
		return &FieldError{at.String(), "a password is a string; what was sent is not shown"}
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &FieldError{at.String(), fmt.Sprintf("%s is no %s", short(raw), nameOf(t))}
	}
	return &FieldError{at.String(), fmt.Sprintf("%s: %v", short(raw), err)}
}

// key reads a member's name.
func (w *walk) key() string {
	start := w.pos
	w.skip()
	raw := w.data[start:w.pos]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return string(raw)
	}
	return name
}

func (w *walk) space() {
	for w.pos < len(w.data) && strings.IndexByte(" \t\r\n", w.data[w.pos]) >= 0 {
		w.pos++
	}
}

// skip moves past the value at the cursor.
func (w *walk) skip() {
	depth := 0
	for w.pos < len(w.data) {
		switch w.data[w.pos] {
		case '"':
			w.text()
		case '{', '[':
			depth++
			w.pos++
		case '}', ']':
			depth--
			w.pos++
		case ',', ':', ' ', '\t', '\r', '\n':
			w.pos++
		default:
			w.word()
		}
		if depth == 0 {
			return
		}
	}
}

// text moves past a string.
func (w *walk) text() {
	for w.pos++; w.data[w.pos] != '"'; w.pos++ {
		if w.data[w.pos] == '\\' {
			w.pos++
		}
	}
	w.pos++
}

// word moves past a number, true, false or null.
func (w *walk) word() {
	for w.pos < len(w.data) && strings.IndexByte(",:]} \t\r\n", w.data[w.pos]) < 0 {
		w.pos++
	}
}
