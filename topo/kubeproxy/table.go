package kubeproxy

import "strings"

// table is one iptables table on its way to iptables-restore.
type table struct {
	name   string
	chains []string
	rules  []string
}

func newTable(name string) *table { return &table{name: name} }

func (t *table) chain(names ...string) { t.chains = append(t.chains, names...) }

func (t *table) add(chain, rule string) { t.rules = append(t.rules, "-A "+chain+" "+rule) }

// String prints the table as iptables-restore reads it.
func (t *table) String() string {
	var b strings.Builder
	b.WriteString("*" + t.name + "\n")
	for _, c := range t.chains {
		b.WriteString(":" + c + " - [0:0]\n")
	}
	for _, r := range t.rules {
		b.WriteString(r + "\n")
	}
	b.WriteString("COMMIT\n")
	return b.String()
}
