package tcpmd5

import "testing"

// FuzzParse holds that no text of a kernel breaks the reader.
func FuzzParse(f *testing.F) {
	f.Add("TcpExt: A TCPMD5Failure\nTcpExt: 1 2\n")
	f.Add("TcpExt: A\nTcpExt: 1 2\n")
	f.Add("TcpExt: TCPMD5Failure\nTcpExt: -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parse(text); err != nil && r != (Refused{}) {
			t.Fatalf("%+v and %v", r, err)
		}
	})
}
