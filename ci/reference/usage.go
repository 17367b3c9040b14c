package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// subcommand is a line of cobra's list of them.
var subcommand = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)

// usage is what a program says of itself and of its subcommands.
func usage(words []string) (string, error) {
	cmd := exec.Command(filepath.Join("bin", words[0]), append(words[1:len(words):len(words)], "--help")...)
	cmd.Env = append(os.Environ(), "POD_NAME=") // the default of a flag
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s --help: %w; run ci/build.sh first", strings.Join(words, " "), err)
	}
	help := strings.TrimSpace(string(out))
	name := strings.Join(words, " ")
	text := "\n### " + name + "\n\n```text\n" + help + "\n```\n"
	_, list, found := strings.Cut(help, "Available Commands:\n")
	if !found {
		return text, nil
	}
	list, _, _ = strings.Cut(list, "\n\n")
	var errs []error
	for _, m := range subcommand.FindAllStringSubmatch(list, -1) {
		if m[1] == "completion" || m[1] == "help" { // cobra's own
			continue
		}
		below, err := usage(append(words[:len(words):len(words)], m[1]))
		text += below
		errs = append(errs, err)
	}
	return text, errors.Join(errs...)
}
