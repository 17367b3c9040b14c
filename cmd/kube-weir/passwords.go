package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	v1 "github.com/weir-lb/weir/api/v1"
	"github.com/weir-lb/weir/controller"
)

// setPasswords gives the peers the passwords of the file; none without a file.
// Errors name lines, never what is in them.
func setPasswords(peers []controller.ExternalPeer, file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return assignPasswords(peers, file, string(text))
}

func assignPasswords(peers []controller.ExternalPeer, file, text string) error {
	passwords, err := parsePasswords(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for i := range peers {
		peers[i].Password = passwords[peers[i].Address]
		delete(passwords, peers[i].Address)
	}
	for address := range passwords {
		return fmt.Errorf("%s: %s is no external peer; name it in --extBGPPeers, or remove its line", file, address)
	}
	return nil
}

// parsePasswords reads a line IP PASSWORD for each peer; the password is all
// behind the first blanks. Empty lines and those that begin with # are skipped.
func parsePasswords(text string) (map[netip.Addr]v1.Password, error) {
	passwords := map[netip.Addr]v1.Password{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.IndexAny(line, " \t")
		if at < 0 {
			return nil, fmt.Errorf("line %d: no blank in it; write IP PASSWORD", number)
		}
		address, err := netip.ParseAddr(line[:at])
		if err != nil {
			return nil, fmt.Errorf("line %d: it does not begin with an address; write IP PASSWORD", number)
		}
		if passwords[address] != "" {
			return nil, fmt.Errorf("line %d: %s is there twice; remove one", number, address)
		}
		password := v1.Password(strings.TrimLeft(line[at:], " \t"))
		if len(password) > v1.MaxPassword {
			return nil, fmt.Errorf("line %d: the password has %d bytes, Linux takes at most %d", number, len(password), v1.MaxPassword)
		}
		passwords[address] = password
	}
	return passwords, nil
}
