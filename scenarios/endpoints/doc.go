// Package endpoints changes EndpointSlices under traffic: new flows follow
// within two seconds, flows of endpoints that stay do not notice, and with no
// endpoint left requests are counted under their reason.
package endpoints
