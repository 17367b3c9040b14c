package plan

import "testing"

func TestOwnPorts(t *testing.T) {
	all := PortRange{1024, 65535}
	tests := []struct {
		name     string
		local    PortRange
		reserved []PortRange
		want     PortRange
		apart    bool
	}{
		{"Linux's own range: the ports below it are more than those above", PortRange{32768, 60999}, nil, PortRange{1024, 32767}, true},
		{"a range from the first port: those above it", PortRange{1024, 60999}, nil, PortRange{61000, 65535}, true},
		{"a range that begins below the first port", PortRange{1, 32767}, nil, PortRange{32768, 65535}, true},
		{"a range to the last port: those below it", PortRange{10000, 65535}, nil, PortRange{1024, 9999}, true},
		{"two runs as long as each other: the lower one", PortRange{11024, 55535}, nil, PortRange{1024, 11023}, true},
		{"4096 ports are enough", PortRange{1024, 61439}, nil, PortRange{61440, 65535}, true},
		{"4095 are not", PortRange{1024, 61440}, nil, all, false},
		{"a range of all ports", all, nil, all, false},
		{"below the first port there is nothing for us", PortRange{512, 65535}, nil, all, false},
		{"reserved ports are a bound too", PortRange{32768, 60999}, []PortRange{{30000, 32767}, {8080, 8080}}, PortRange{8081, 29999}, true},
		{"reserved ports within the range change nothing", PortRange{32768, 60999}, []PortRange{{40000, 50000}}, PortRange{1024, 32767}, true},
		{"reserved ports that leave too little", PortRange{32768, 65535}, []PortRange{{4000, 30000}}, all, false},
		{"a range of all ports is none of ours where ports are reserved either", all, []PortRange{{50000, 59999}}, all, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if own, apart := OwnPorts(tt.local, tt.reserved); own != tt.want || apart != tt.apart {
				t.Errorf("OwnPorts(%v, %v) = %v, %t; want %v, %t", tt.local, tt.reserved, own, apart, tt.want, tt.apart)
			}
		})
	}
}
