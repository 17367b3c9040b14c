package push

import (
	"reflect"
	"slices"

	v1 "github.com/weir-lb/weir/api/v1"
)

// smallShare is how many times the services of a change must fit into those of
// the whole for the change to be sent instead.
const smallShare = 4

// changeOf returns what makes after of before, and whether it is worth sending
// in place of after: where it is small, and where a change can say it at all.
func changeOf(before, after v1.NodeState) (v1.NodeChange, bool) {
	c := v1.NodeChange{Base: before.Generation, Generation: after.Generation}
	if before.BGP != nil && after.BGP == nil || before.Drained != after.Drained {
		return c, false
	}
	was, ok := byFrontend(before.Services)
	is, ok2 := byFrontend(after.Services)
	if !ok || !ok2 {
		return c, false
	}
	for _, s := range after.Services {
		if old, ok := was[s.Frontend]; !ok || !v1.EqualServices(*old, s) {
			c.Upsert = append(c.Upsert, s)
		}
	}
	for _, s := range before.Services {
		if _, ok := is[s.Frontend]; !ok {
			c.Remove = append(c.Remove, s.Frontend)
		}
	}
	if !reflect.DeepEqual(before.BGP, after.BGP) {
		c.BGP = after.BGP
	}
	if !slices.Equal(before.Roles, after.Roles) {
		c.Roles = append([]v1.Role{}, after.Roles...)
	}
	return c, smallShare*(len(c.Upsert)+len(c.Remove)) <= len(after.Services)
}

// byFrontend returns services by frontend, and whether each has one of its
// own: what a change does to two of one frontend is not what a whole state
// says.
func byFrontend(services []v1.Service) (map[v1.Frontend]*v1.Service, bool) {
	at := make(map[v1.Frontend]*v1.Service, len(services))
	for i := range services {
		at[services[i].Frontend] = &services[i]
	}
	return at, len(at) == len(services)
}
