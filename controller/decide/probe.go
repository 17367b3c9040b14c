package decide

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	v1 "github.com/weir-lb/weir/api/v1"
)

// probe is what annotations say of health probes. One that cannot be makes all
// of them void: half of them may ask the wrong port for the right page, and
// take every backend out. The service goes on with the node's defaults.
type probe struct {
	spec v1.ProbeSpec
	// off is probetype none.
	off bool
	// keys are the annotations as they are written, by their names.
	keys map[string]string
	// faults say what is wrong, a line each.
	faults []string
}

// The names of annotations, and the field of a v1.ProbeSpec that each fills.
var probeFields = map[string]string{
	"type": "probetype", "port": "probeport", "request": "probereq", "expect": "proberesp",
	"periodMilliseconds": "probetimeout", "timeoutMilliseconds": "probewait", "failures": "proberetries",
}

// note keeps how the annotation of a field is written, and what is wrong with it.
func (p *probe) note(key, name string, err error) {
	if p.keys == nil {
		p.keys = map[string]string{}
	}
	p.keys[name] = key
	if err != nil {
		p.faults = append(p.faults, key+": "+err.Error())
	}
}

// complete checks the whole against the service's ports.
func (p *probe) complete(ports []port) {
	if p.spec.Type == v1.ProbeHTTP || p.spec.Type == v1.ProbeHTTPS {
		if p.spec.Request != "" && !strings.HasPrefix(p.spec.Request, "/") {
			p.spec.Request = "/" + p.spec.Request // LoxiLB's way to write it
		}
	}
	for _, port := range ports {
		var bad *v1.FieldError
		if len(p.faults) == 0 && errors.As(v1.ValidateProbe(p.spec, port.Protocol), &bad) {
			name := probeFields[bad.Path]
			key, ok := p.keys[name]
			if !ok {
				key = prefixLoxiLB + name
			}
			p.faults = append(p.faults, key+": "+bad.Message)
		}
	}
	if len(p.faults) > 0 {
		p.spec, p.off = v1.ProbeSpec{}, false
	}
}

func readPort(value string) (uint16, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port; use 1 to 65535, or 0 for the endpoint's own", value)
	}
	return uint16(n), nil
}

// readMilliseconds reads seconds, as LoxiLB does, or a duration with its unit.
func readMilliseconds(value string) (uint32, error) {
	d, err := time.ParseDuration(value)
	if seconds, wrong := strconv.ParseUint(value, 10, 32); wrong == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || d <= 0 || d > v1.MaxProbePeriod {
		return 0, fmt.Errorf("%q is no time; use seconds, or a duration as 500ms, up to %v", value, v1.MaxProbePeriod)
	}
	return uint32(d.Milliseconds()), nil
}

func readRetries(value string) (uint16, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n >= v1.MaxProbeFailures {
		return 0, fmt.Errorf("%q is no number of retries; use 0 to %d", value, v1.MaxProbeFailures-1)
	}
	return uint16(n) + 1, nil
}
