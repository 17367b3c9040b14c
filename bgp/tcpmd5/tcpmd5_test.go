package tcpmd5

import "testing"

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Refused
		bad        bool
	}{
		{"all three among others", "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure X\nTcpExt: 9 1 2 3 9\nIpExt: A\nIpExt: 7\n", Refused{Wrong: 3, Unsigned: 1, Unexpected: 2}, false},
		{"a kernel without MD5", "TcpExt: SyncookiesSent\nTcpExt: 9\n", Refused{}, false},
		{"other lines before", "IpExt: A\nIpExt: 7\nTcpExt: TCPMD5Failure\nTcpExt: 4\n", Refused{Wrong: 4}, false},
		{"a value short", "TcpExt: TCPMD5Failure X\nTcpExt: 4\n", Refused{}, true},
		{"no number", "TcpExt: TCPMD5Failure\nTcpExt: many\n", Refused{}, true},
		{"nothing", "", Refused{}, true},
	} {
		got, err := parse(tt.text)
		if got != tt.want && !tt.bad || (err != nil) != tt.bad {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

func TestReadsThisKernel(t *testing.T) {
	if _, err := Read(); err != nil {
		t.Error(err)
	}
}
