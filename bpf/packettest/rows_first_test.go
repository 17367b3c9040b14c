package packettest

import "testing"

func TestFirst(t *testing.T) {
	runTable(t, []row{
		{name: "fullnat: the client's SYN goes to the backend, from the VIP",
			in:      tcpPacket("client:40000", "vip:80", syn),
			out:     sent(tcpPacket("client:40000", "vip:80", syn).nat("vip:40000", "b1:8080", "b1")),
			started: pair("flows_new", "half-open", "tcp", "client:40000", "vip:80", "vip:40000", "b1:8080")},
	})
}
