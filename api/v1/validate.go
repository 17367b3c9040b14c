package v1

import (
	"fmt"
	"net/netip"
)

// FieldError is a value that cannot be, with the path to it:
// services[3].backends[0].port. The path is empty where the text as a whole
// is at fault.
type FieldError struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// Error prints path and message.
func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// ValidateService returns nil, or a *FieldError for the first field of s that
// cannot be, its path relative to the service. A service that fails becomes a
// condition of its own; the others go on.
func ValidateService(s Service) error {
	if err := validateFrontend(s.Frontend); err != nil {
		return err
	}
	switch s.Mode {
	case ModeDefault, ModeOneArm, ModeFullNAT:
	default:
		return &FieldError{"mode", fmt.Sprintf("unknown mode %q, use default, onearm or fullnat", s.Mode)}
	}
	switch s.Algorithm {
	case "", RoundRobin, Hash:
	default:
		return &FieldError{"algorithm", fmt.Sprintf("unknown algorithm %q, use rr or hash", s.Algorithm)}
	}
	if err := validateProbe(s.Probe, s.Protocol); err != nil {
		err.Path = "probe." + err.Path
		return err
	}
	if s.IdleTimeout > MaxIdleTimeout {
		return &FieldError{"idleTimeout", fmt.Sprintf("%d s, at most %d", s.IdleTimeout, MaxIdleTimeout)}
	}
	if s.Affinity > MaxAffinity {
		return &FieldError{"affinity", fmt.Sprintf("%d s, at most %d", s.Affinity, MaxAffinity)}
	}
	if err := validateSources(s.Sources); err != nil {
		return err
	}
	if len(s.Backends) > MaxBackends {
		return &FieldError{"backends", fmt.Sprintf("%d backends, at most %d", len(s.Backends), MaxBackends)}
	}
	seen := make(map[netip.AddrPort]int, len(s.Backends))
	for i, b := range s.Backends {
		if err := validateBackend(b); err != nil {
			err.Path = fmt.Sprintf("backends[%d].%s", i, err.Path)
			return err
		}
		ap := netip.AddrPortFrom(b.Address, b.Port)
		if j, ok := seen[ap]; ok {
			return &FieldError{fmt.Sprintf("backends[%d]", i), fmt.Sprintf("%s is backends[%d] already", ap, j)}
		}
		seen[ap] = i
	}
	return nil
}

func validateSources(sources []netip.Prefix) error {
	if len(sources) > MaxSources {
		return &FieldError{"sources", fmt.Sprintf("%d prefixes, at most %d", len(sources), MaxSources)}
	}
	for i, p := range sources {
		if !p.IsValid() || !p.Addr().Is4() {
			return &FieldError{fmt.Sprintf("sources[%d]", i), fmt.Sprintf("%s is no IPv4 prefix, such as 192.0.2.0/24", p)}
		}
	}
	return nil
}

func validateFrontend(f Frontend) error {
	switch {
	case !f.VIP.IsValid():
		return &FieldError{"vip", "no address given"}
	case !f.VIP.Is4():
		return &FieldError{"vip", fmt.Sprintf("%s is not IPv4, the only family that the dataplane serves yet", f.VIP)}
	case f.VIP.IsUnspecified() || f.VIP.IsLoopback() || f.VIP.IsMulticast() || f.VIP.IsLinkLocalUnicast():
		return &FieldError{"vip", fmt.Sprintf("%s cannot be a service address, use a unicast address", f.VIP)}
	case f.Port == 0:
		return &FieldError{"port", "0 is no port, use 1 to 65535"}
	case f.Protocol.Number() == 0:
		return &FieldError{"protocol", fmt.Sprintf("unknown protocol %q, use tcp, udp or sctp", f.Protocol)}
	}
	return nil
}

func validateBackend(b Backend) *FieldError {
	switch {
	case !b.Address.IsValid():
		return &FieldError{"address", "no address given"}
	case !b.Address.Is4():
		return &FieldError{"address", fmt.Sprintf("%s is not IPv4, the only family that the dataplane serves yet", b.Address)}
	case b.Address.IsUnspecified() || b.Address.IsLoopback() || b.Address.IsMulticast():
		return &FieldError{"address", fmt.Sprintf("%s cannot be a backend, use a unicast address", b.Address)}
	case b.Port == 0:
		return &FieldError{"port", "0 is no port, use 1 to 65535"}
	case b.Weight > MaxWeight:
		return &FieldError{"weight", fmt.Sprintf("%d is over %d", b.Weight, MaxWeight)}
	}
	return nil
}

// MaxOwner bounds the length of an owner's name, in bytes.
const MaxOwner = 63

// ValidateOwner checks the name of the one who sends a state: a lower case
// letter, then lower case letters, digits and dashes.
func ValidateOwner(owner string) error {
	ok := len(owner) > 0 && len(owner) <= MaxOwner && owner[0] >= 'a' && owner[0] <= 'z'
	for _, c := range []byte(owner) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return &FieldError{"owner", fmt.Sprintf("%q cannot name an owner, use a-z, 0-9 and -, at most %d", owner, MaxOwner)}
	}
	return nil
}

// ValidateState checks what concerns the state as a whole: BGP and roles. A
// body that fails is refused; bad services are ValidateService's concern.
func ValidateState(s NodeState) error {
	if err := validateRoles(s.Roles); err != nil {
		return err
	}
	if s.BGP == nil {
		return nil
	}
	return validateBGP(*s.BGP)
}

func validateRoles(roles []Role) error {
	seen := make(map[netip.Addr]int, len(roles))
	for i, r := range roles {
		path := fmt.Sprintf("roles[%d]", i)
		switch {
		case !r.VIP.IsValid():
			return &FieldError{path + ".vip", "no address given"}
		case r.Rank < 0 || r.Rank >= 64:
			return &FieldError{path + ".rank", fmt.Sprintf("%d is not within 0 to 63", r.Rank)}
		case r.Nodes <= r.Rank || r.Nodes > 64:
			return &FieldError{path + ".nodes", fmt.Sprintf("%d nodes cannot hold rank %d, use rank+1 to 64", r.Nodes, r.Rank)}
		}
		if j, ok := seen[r.VIP]; ok {
			return &FieldError{path + ".vip", fmt.Sprintf("%s is roles[%d] already", r.VIP, j)}
		}
		seen[r.VIP] = i
	}
	return nil
}

func validateBGP(b BGP) error {
	switch {
	case b.ASN == 0:
		return &FieldError{"bgp.asn", "0 is no AS number (RFC 7607)"}
	case !b.RouterID.Is4():
		return &FieldError{"bgp.routerID", fmt.Sprintf("%s is not an IPv4 address", b.RouterID)}
	case b.HoldTime != 0 && b.HoldTime < 3:
		return &FieldError{"bgp.holdTime", fmt.Sprintf("%d s, at least 3 (RFC 4271 section 4.2)", b.HoldTime)}
	}
	seen := make(map[netip.Addr]int, len(b.Peers))
	for i, p := range b.Peers {
		path := fmt.Sprintf("bgp.peers[%d]", i)
		switch {
		case !p.Address.IsValid():
			return &FieldError{path + ".address", "no address given"}
		case p.ASN == 0:
			return &FieldError{path + ".asn", "0 is no AS number (RFC 7607)"}
		case p.Role != PeerLB && p.Role != PeerWorker && p.Role != PeerExternal:
			return &FieldError{path + ".role", fmt.Sprintf("unknown role %q, use lb, worker or external", p.Role)}
		}
		if p.TTLSecurity && p.MultiHop {
			return &FieldError{path + ".ttlSecurity", "a peer behind a router cannot have it; turn it or multiHop off"}
		}
		if wrong := p.Password.check(); wrong != "" {
			return &FieldError{path + ".password", wrong}
		}
		if j, ok := seen[p.Address]; ok {
			return &FieldError{path + ".address", fmt.Sprintf("%s is bgp.peers[%d] already", p.Address, j)}
		}
		seen[p.Address] = i
	}
	if err := validatePrefixes("bgp.vips", b.VIPs); err != nil {
		return err
	}
	return validatePrefixes("bgp.accept", b.Accept)
}

func validatePrefixes(path string, prefixes []netip.Prefix) error {
	for i, p := range prefixes {
		if !p.IsValid() {
			return &FieldError{fmt.Sprintf("%s[%d]", path, i), "not a prefix"}
		}
	}
	return nil
}
