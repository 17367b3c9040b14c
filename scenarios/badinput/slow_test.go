package badinput

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/weir-lb/weir/api/transport"
	"github.com/weir-lb/weir/scenarios/endpoints/cluster"
)

const (
	// slowMargin is how late a machine with other things to do may cut a client off.
	slowMargin = 10 * time.Second
	// pause is between two bytes of a client that sends one at a time.
	pause = 100 * time.Millisecond
)

// slowClient is one that keeps a connection for as long as it is let.
type slowClient struct {
	what   string
	limit  time.Duration // weir's
	answer int           // status, 0 for none
	ended  chan slowEnd  // has one element when weir has cut it off
}

type slowEnd struct {
	answer int
	after  time.Duration
}

// startSlow starts slow clients on worker1, which end with the container.
func startSlow(l *cluster.Lab) []*slowClient {
	GinkgoHelper()
	limits := transport.DefaultLimits
	handshake := &slowClient{what: "a handshake that never ends", limit: limits.Header}
	body := &slowClient{what: "a body that comes a byte at a time", limit: limits.Read, answer: http.StatusRequestTimeout}
	handshake.start(l, func(conn net.Conn) error {
		_, err := conn.Write([]byte{22, 3, 1, 2, 0}) // the header of a record of 512 bytes, which do not follow
		return err
	}, nil)
	body.start(l, func(conn net.Conn) error {
		_, err := fmt.Fprintf(conn, "PUT /v1/state/slow HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{", server)
		return err
	}, controllers(l))
	return []*slowClient{handshake, body}
}

// start connects, over TLS where config is given, begins, and goes on byte by byte
// until weir answers or hangs up.
func (s *slowClient) start(l *cluster.Lab, begin func(net.Conn) error, config *tls.Config) {
	GinkgoHelper()
	s.ended = make(chan slowEnd, 1)
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := l.Node("worker1").Dial(ctx, "tcp", server)
	Expect(err).NotTo(HaveOccurred())
	done := make(chan struct{}, 2)
	DeferCleanup(func() {
		cancel()
		_ = conn.Close()
		<-done
		<-done
	})
	started := time.Now()
	if config != nil {
		secure := tls.Client(conn, config)
		Expect(secure.HandshakeContext(ctx)).To(Succeed())
		conn = secure
	}
	Expect(begin(conn)).To(Succeed())
	go func() {
		defer func() { done <- struct{}{} }()
		if config == nil {
			return
		}
		again := time.NewTicker(pause)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
			if _, err := conn.Write([]byte(" ")); err != nil {
				return // it is cut off, and who reads tells
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		end := slowEnd{}
		if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			end.answer = response.StatusCode
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		end.after = time.Since(started)
		s.ended <- end
	}()
}
