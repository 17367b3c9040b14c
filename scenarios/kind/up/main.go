// Command up makes the cluster of the kind suite and leaves it standing, with -clean sees that weir, taken off, has left
// nothing on its nodes, and with -down removes it; ci/kind.sh and ci/install.sh call it where there is a Docker daemon with
// a node image.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

func main() {
	name := flag.String("name", "weir", "name of the cluster")
	dir := flag.String("dir", "build/kind", "folder for its files")
	down := flag.Bool("down", false, "remove it")
	clean := flag.Bool("clean", false, "fail if weir has left anything on its nodes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, lab.Named(*name, *dir), *down, *clean); err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		os.Exit(1)
	}
}

// patience is how long weir's processes may take to end after their pods.
const patience = time.Minute

func run(ctx context.Context, c *lab.Cluster, down, clean bool) error {
	switch {
	case down:
		return c.Delete(ctx)
	case clean:
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return c.Clean(ctx)
	}
	fmt.Printf("creating cluster %s of two masters and two workers (a minute or two)\n", c.Name)
	if err := c.Up(ctx, "."); err != nil {
		return err
	}
	fmt.Println("installing weir and the article's services")
	if err := c.Install(ctx, "."); err != nil {
		return err
	}
	try(c)
	return nil
}

// try prints what to look at.
func try(c *lab.Cluster) {
	kubectl := "docker exec " + c.Masters[0].Name + " kubectl --kubeconfig=/etc/kubernetes/admin.conf"
	fmt.Println("\nIt stands. Try:")
	for _, command := range []string{
		kubectl + " get svc",
		kubectl + " -n kube-system exec ds/loxilb-lb -- weirctl get lb",
		kubectl + " -n kube-system exec ds/loxilb-lb -- gobgp neighbor",
		"docker exec " + c.Workers[0].Name + " ip route",
		"docker exec " + c.Client.Name + " ip route",
		"docker exec " + c.Client.Name + " weir-topo request http 123.123.123.1:55002",
		"docker exec " + c.Client.Name + " weir-topo request udp 123.123.123.1:55003",
		"docker exec " + c.Client.Name + " weir-topo request sctp 123.123.123.1:55004",
	} {
		fmt.Println("  " + command)
	}
}
