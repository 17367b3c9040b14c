package packet

import "testing"

// FuzzParse holds that no frame of a capture breaks who reads it: what is
// parsed can be shown, and its checksums looked at.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 60))
	ethernet := append(make([]byte, 12), 8, 0)
	f.Add(append(ethernet[:14:14], 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2, 0, 8, 0, 0))
	f.Add(append(ethernet[:14:14], 0x4f, 0, 0, 20, 0, 0, 0x20, 0, 64, 132, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		if p, err := Parse(frame); err == nil {
			_ = p.String()
		}
		_ = Verify(frame)
		_ = VerifyPartial(frame)
	})
}
