package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"time"
)

// Transfer is a bulk TCP transfer whose content arrived whole: both ends have the same SHA-256.
type Transfer struct {
	Backend string
	Bytes   int64
	SHA256  string
	Elapsed time.Duration
}

// String is one line for a person.
func (t Transfer) String() string {
	return fmt.Sprintf("%d bytes with %s in %s, sha256 %.16s", t.Bytes, t.Backend, t.Elapsed.Round(time.Millisecond), t.SHA256)
}

// Upload sends n bytes to a TCP server. The request's timeout bounds connecting only; ctx bounds the transfer. It is an
// error when the server received anything else.
func (c *Client) Upload(ctx context.Context, r Request, n int64) (Transfer, error) {
	return c.transfer(ctx, r, commandReceive, n, func(s *tcpSession, sum hash.Hash) error {
		return copyStream(s.conn, io.TeeReader(stream(n), sum))
	})
}

// Download receives n bytes from a TCP server, as Upload.
func (c *Client) Download(ctx context.Context, r Request, n int64) (Transfer, error) {
	return c.transfer(ctx, r, commandSend, n, func(s *tcpSession, sum hash.Hash) error {
		if got, err := io.CopyN(sum, s.reader, n); err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", got, n, err)
		}
		// What both ends hash alike must also be what was to be sent.
		want := sha256.New()
		if err := copyStream(want, stream(n)); err != nil {
			return err
		}
		if a, b := sum.Sum(nil), want.Sum(nil); string(a) != string(b) {
			return fmt.Errorf("%w: received sha256 %x, want %x", ErrWrongAnswer, a, b)
		}
		return nil
	})
}

func (c *Client) transfer(ctx context.Context, r Request, verb string, n int64, move func(*tcpSession, hash.Hash) error) (Transfer, error) {
	r.Protocol = TCP
	wrap := func(err error) error { return fmt.Errorf("transfer (%s) %s: %w", verb, r.Target, err) }
	opening, cancel := r.within(ctx)
	defer cancel()
	t, err := c.openTCP(opening, r)
	if err != nil {
		return Transfer{}, wrap(err)
	}
	s := t.(*tcpSession)
	defer s.conn.Close()
	defer bound(ctx, s.conn)()
	start, sum := time.Now(), sha256.New()
	if _, err := fmt.Fprintf(s.conn, "%c%s %d\n", commandMark, verb, n); err != nil {
		return Transfer{}, wrap(err)
	}
	if err := move(s, sum); err != nil {
		return Transfer{}, wrap(err)
	}
	theirs, err := readLine(s.reader)
	if err != nil {
		return Transfer{}, wrap(fmt.Errorf("read the server's sha256: %w", err))
	}
	ours := hex.EncodeToString(sum.Sum(nil))
	if ours != theirs {
		return Transfer{}, wrap(fmt.Errorf("%w: our sha256 %s, the server's %s", ErrWrongAnswer, ours, theirs))
	}
	var a Answer
	if err := a.readGreeting(s.greeting); err != nil {
		return Transfer{}, wrap(err)
	}
	return Transfer{Backend: a.Backend, Bytes: n, SHA256: ours, Elapsed: time.Since(start)}, nil
}
