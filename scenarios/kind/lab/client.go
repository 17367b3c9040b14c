package lab

import (
	"context"
	"fmt"
	"strings"
)

// birdConfig is the article's client: AS 65101, what BGP teaches goes to the kernel. The masters' sessions are appended.
const birdConfig = `log stderr all;
protocol device { scan time 5; }
protocol kernel {
  ipv4 {
    import none;
    export where source = RTS_BGP;
  };
}
template bgp weir {
  local as 65101;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  graceful restart on;
  ipv4 {
    import all;
    export none;
  };
}
`

// ClientASN is the client's AS number.
const ClientASN = 65101

func (c *Cluster) clientName() string { return c.Name + "-client" }

// StartClient puts the client beside the cluster, out of the archive of its image.
func (c *Cluster) StartClient(ctx context.Context, archive string) error {
	loaded, err := docker(ctx, nil, "load", "--quiet", "--input", archive)
	if err != nil {
		return err
	}
	// Before, docker may say what image it takes the tag from.
	_, tag, found := strings.Cut(loaded, "Loaded image: ")
	if !found {
		return fmt.Errorf("load %s: docker says %q and names no image", archive, loaded)
	}
	c.clientImage = strings.TrimSpace(tag)
	name := c.clientName()
	_, err = docker(ctx, nil, "run", "--detach", "--interactive", "--name", name, "--hostname", "client", "--network", c.Name,
		"--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", c.clientImage)
	if err != nil {
		return err
	}
	if c.Client, err = machine(ctx, name, c.Name); err != nil {
		return err
	}
	if err := c.configureClient(ctx); err != nil {
		return err
	}
	_, err = docker(ctx, nil, "exec", "--detach", name, "bird", "-f", "-c", "/etc/bird.conf", "-s", "/run/bird.ctl")
	return err
}

// configureClient writes the page of the client's BIRD.
func (c *Cluster) configureClient(ctx context.Context) error {
	port := c.ListenBGPPort
	if port == 0 {
		port = 179
	}
	var page strings.Builder
	page.WriteString("router id " + c.Client.Address.String() + ";\n" + birdConfig)
	for i, m := range c.Masters {
		fmt.Fprintf(&page, "protocol bgp master%d from weir { neighbor %s port %d as 64512; }\n", i+1, m.Address, port)
	}
	_, err := c.Client.feed(ctx, page.String(), "dd", "of=/etc/bird.conf", "status=none")
	return err
}

// PeerClient has the client's BIRD dial the masters where ListenBGPPort says.
func (c *Cluster) PeerClient(ctx context.Context) error {
	if err := c.configureClient(ctx); err != nil {
		return err
	}
	_, err := c.Client.Run(ctx, "birdc", "-s", "/run/bird.ctl", "configure")
	return err
}

// removeContainer removes a container that is not a node, if it is there; its image stays with the daemon that has it,
// others may run it.
func removeContainer(ctx context.Context, name string) error {
	_, err := docker(ctx, nil, "rm", "--force", "--volumes", name)
	if err != nil && strings.Contains(err.Error(), "No such container") {
		return nil
	}
	return err
}
