package lab

import (
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
)

// Withdraw removes the services' manifests.
func (l *Lab) Withdraw(services ...Service) {
	ginkgo.GinkgoHelper()
	for _, s := range services {
		gomega.Expect(l.RemoveManifest(s.Manifest)).To(gomega.Succeed())
	}
}

// Restore writes the services' manifests as the page has them.
func (l *Lab) Restore(services ...Service) {
	ginkgo.GinkgoHelper()
	for _, s := range services {
		l.Write(s.Manifest, string(l.Page.ManifestFiles[s.Manifest]))
	}
}

// Write puts a manifest in place.
func (l *Lab) Write(name, content string) {
	ginkgo.GinkgoHelper()
	gomega.Expect(l.WriteManifest(name, []byte(content))).To(gomega.Succeed())
}

// Cut takes both links of a master down, as if it had lost its power: nobody
// is told. Mend brings them up again.
func (l *Lab) Cut(master string) {
	ginkgo.GinkgoHelper()
	for _, name := range []string{"eth1", "eth2"} {
		gomega.Expect(l.Node(master).Link(name).Down()).To(gomega.Succeed())
	}
}

// Mend brings both links of a master up.
func (l *Lab) Mend(master string) {
	ginkgo.GinkgoHelper()
	for _, name := range []string{"eth1", "eth2"} {
		gomega.Expect(l.Node(master).Link(name).Up()).To(gomega.Succeed())
	}
}
