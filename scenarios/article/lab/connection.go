package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/weir-lb/weir/topo/probe"
)

// Connection is one to the service Nginx, over which one page after the other is fetched.
// One at a time.
type Connection struct {
	conn   net.Conn
	reader *bufio.Reader
}

// Connect opens a connection from the client; the caller closes it.
func (l *Lab) Connect(ctx context.Context) (*Connection, error) {
	conn, err := l.Node("client").DialFrom(ctx, net.Dialer{KeepAlive: -1}, "tcp4", Nginx.Frontend.String())
	if err != nil {
		return nil, err
	}
	return &Connection{conn, bufio.NewReader(conn)}, nil
}

// Ask fetches a page before ctx's deadline. It returns who answered, and whom that saw: the
// translated client, which stays the same as long as the load balancer knows the flow.
func (c *Connection) Ask(ctx context.Context) (backend string, seen netip.AddrPort, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return "", seen, err
	}
	if _, err := fmt.Fprintf(c.conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", VIP); err != nil {
		return "", seen, err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", seen, err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "", seen, err
	}
	seen, err = netip.ParseAddrPort(answer.Header.Get("X-Seen-Client"))
	return answer.Header.Get("X-Backend"), seen, err
}

// Resent counts the segments that the client has sent again.
func (c *Connection) Resent() (int, error) { return probe.ResentTCP(c.conn) }

// Close ends the connection.
func (c *Connection) Close() error { return c.conn.Close() }
