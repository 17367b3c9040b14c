// Package api holds the description of weir's API.
package api

import _ "embed"

// OpenAPI is the API of weir as an OpenAPI 3.1 document, generated from routes
// and types: go test ./agent/api -run TestOpenAPI -update writes it.
//
//go:embed openapi.json
var OpenAPI []byte
