// Command up makes the cluster of the kind suite and leaves it standing, or with -down removes it; ci/kind.sh calls it
// where there is a Docker daemon with a node image.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/weir-lb/weir/scenarios/kind/lab"
)

func main() {
	name := flag.String("name", "weir", "name of the cluster")
	dir := flag.String("dir", "build/kind", "folder for its files")
	down := flag.Bool("down", false, "remove it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *name, *dir, *down); err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, dir string, down bool) error {
	c := lab.Named(name, dir)
	if down {
		return c.Delete(ctx)
	}
	fmt.Printf("creating cluster %s of two masters and two workers (a minute or two)\n", name)
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
