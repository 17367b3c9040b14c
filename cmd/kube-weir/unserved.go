package main

// unserved are flags of kube-loxilb that have no counterpart, with what to do.
// One that was ignored would promise what nothing keeps.
var unserved = map[string]string{
	"appendEPs":           "remove it; a node is always told the whole state",
	"config":              "give its settings as flags",
	"enableBGPCRDs":       "give --setBGP and --extBGPPeers",
	"enableK8sMetadata":   "remove it; metrics and weirctl name the Service already",
	"externalCIDR6":       "give --cidr6Pools=defaultPool=CIDR",
	"excludeRoleList":     "remove it; run weir only on the nodes that may be active",
	"gatewayAPI":          "use Services of type LoadBalancer",
	"loxilbGatewayClass":  "use Services of type LoadBalancer",
	"loxiURL":             "remove it; nodes are found by the Service weir-lb or loxilb-lb-service, in the controller's namespace or kube-system",
	"noZoneName":          "remove it; the status of a Service carries its address alone",
	"numZoneInstances":    "remove it; without --setRoles the load balancer nodes share the addresses",
	"privateCIDR":         "remove it; the source of translated flows is the node's or the service's address",
	"useExternalEndpoint": "remove it; backends are pods (--usePodNetwork) or node ports",
	"zone":                "remove it; all load balancer nodes serve all Services",
}
