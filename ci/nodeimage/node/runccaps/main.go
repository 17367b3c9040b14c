// Command runccaps is an OCI runtime for machines that lack a capability, CAP_SYS_RESOURCE mostly. Docker gives a
// privileged container all capabilities there are, and runc refuses what the machine cannot give ("unable to apply
// caps"). This one takes them out of the request, then becomes runc.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "runccaps:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	have, err := bounding(string(status))
	if err != nil {
		return err
	}
	if file, in := request(args); file != "" {
		if err := rewrite(file, in, have); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	runc := os.Getenv("RUNC")
	if runc == "" {
		runc = "/usr/sbin/runc"
	}
	return fmt.Errorf("start %s: %w", runc, syscall.Exec(runc, append([]string{runc}, args...), os.Environ()))
}

// request finds the file that a command line asks for capabilities in, and whether it is a whole bundle's
// configuration (create, run) or one process (exec). Other commands ask for none.
func request(args []string) (file string, whole bool) {
	value := func(names ...string) string {
		for i, a := range args {
			for _, n := range names {
				if a == n && i+1 < len(args) {
					return args[i+1]
				}
				if v, ok := strings.CutPrefix(a, n+"="); ok {
					return v
				}
			}
		}
		return ""
	}
	for _, a := range args {
		switch a {
		case "create", "run":
			return filepath.Join(value("--bundle", "-b"), "config.json"), true
		case "exec":
			return value("--process", "-p"), false
		}
	}
	return "", false
}

// rewrite trims the request in a file.
func rewrite(file string, whole bool, have capabilities) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil // runc says it better
	}
	if err != nil {
		return err
	}
	var content map[string]any
	if err := json.Unmarshal(b, &content); err != nil {
		return err
	}
	process := content
	if whole {
		process, _ = content["process"].(map[string]any)
	}
	if process == nil {
		return nil
	}
	trim(process, have)
	if b, err = json.Marshal(content); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}
