package v1

// Error is the body of every answer that is not 2xx.
type Error struct {
	// Message is one line for a person and says what to do.
	Message string `json:"error"`
	// Path leads to the field that was refused, with status 400.
	Path string `json:"path,omitempty"`
	// Current is the generation that stands, with status 409.
	Current *Generation `json:"current,omitempty"`
}

// Error returns the message, which names the path where there is one.
func (e *Error) Error() string { return e.Message }

// Version names the program that answers: GET /v1/version.
type Version struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	// Mode is NodeLB or NodePeer.
	Mode string `json:"mode"`
	// Go is the version of the Go toolchain that built the program.
	Go string `json:"go"`
}

// DesiredState is what each owner asked for: GET /v1/state.
type DesiredState map[string]NodeState

// ServiceBackend is one backend of one service: GET /v1/backends.
type ServiceBackend struct {
	// Service is the service's name, Frontend what a client dials.
	Service  string   `json:"service,omitempty"`
	Frontend Frontend `json:"frontend"`
	BackendStatus
	// Monitor tells whether the service asks for health probes.
	Monitor bool `json:"monitor,omitempty"`
}

// Health is the answer of GET /healthz while the program works.
type Health struct {
	Status string `json:"status"`
}

// HealthDrained is the Health.Status that answers POST /v1/drain: the program
// ends, and leaves nothing on the node.
const HealthDrained = "drained"

// HealthOK is the only Health.Status there is: a program that cannot work
// ends, and does not answer.
const HealthOK = "ok"
