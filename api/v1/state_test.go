package v1

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
)

// TestEqualSeesEveryField changes each field of a state, and of all that is in
// it, by itself: a field that it does not know would never be pushed again.
func TestEqualSeesEveryField(t *testing.T) {
	full := func() NodeState {
		var s NodeState
		fill(reflect.ValueOf(&s).Elem())
		return s
	}
	if !EqualStates(full(), full()) {
		t.Fatal("a state is not equal to one of the same content")
	}
	seen := 0
	for {
		s := full()
		changed := alter(reflect.ValueOf(&s).Elem(), "state", seen)
		if changed == "" {
			break
		}
		seen++
		if EqualStates(s, full()) || EqualStates(full(), s) {
			t.Errorf("%s is another, and the states are equal", changed)
		}
	}
	if seen < 40 {
		t.Errorf("only %d fields were changed", seen)
	}
}

func TestEqualTakesNoneForEmpty(t *testing.T) {
	none := NodeState{Services: []Service{{}}}
	empty := NodeState{Services: []Service{{Sources: []netip.Prefix{}, Backends: []Backend{}}}, Roles: []Role{}}
	if !EqualStates(none, empty) || !EqualStates(NodeState{}, NodeState{Services: []Service{}}) {
		t.Error("an empty list is not as good as none")
	}
}

// leaf says that a value is changed as a whole.
func leaf(v reflect.Value) bool {
	switch v.Interface().(type) {
	case netip.Addr, netip.Prefix:
		return true
	}
	return v.Kind() != reflect.Struct && v.Kind() != reflect.Slice && v.Kind() != reflect.Pointer
}

// fill gives all fields a value, and each list one element.
func fill(v reflect.Value) {
	switch {
	case leaf(v):
		set(v, 1)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	default:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// alter changes the nth thing in v, and says which, empty where there are fewer.
func alter(v reflect.Value, name string, n int) string {
	left := n
	var walk func(v reflect.Value, name string) string
	here := func(name string, change func()) string {
		if left--; left >= 0 {
			return ""
		}
		change()
		return name
	}
	walk = func(v reflect.Value, name string) string {
		switch {
		case leaf(v):
			return here(name, func() { set(v, 2) })
		case v.Kind() == reflect.Pointer:
			if changed := here(name+" (absent)", func() { v.SetZero() }); changed != "" {
				return changed
			}
			return walk(v.Elem(), name)
		case v.Kind() == reflect.Slice:
			if changed := here(name+" (one more)", func() { v.Set(reflect.Append(v, v.Index(0))) }); changed != "" {
				return changed
			}
			return walk(v.Index(0), name+"[0]")
		}
		for i := range v.NumField() {
			if changed := walk(v.Field(i), name+"."+v.Type().Field(i).Name); changed != "" {
				return changed
			}
		}
		return ""
	}
	return walk(v, name)
}

// set gives a leaf a value for 1, and another one for 2.
func set(v reflect.Value, n int) {
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 32)))
		return
	}
	switch {
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(uint64(n))
	case v.Kind() == reflect.Bool:
		v.SetBool(n == 1)
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint(n))
	default:
		panic("no value for " + v.Type().String())
	}
}
