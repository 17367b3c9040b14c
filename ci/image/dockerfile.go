package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// recipe is the last stage of a Dockerfile.
type recipe struct {
	steps  []step
	config v1.Config
}

// step adds files to the image.
type step struct {
	unpack  bool     // ADD: the sources are tar archives
	stage   string   // COPY --from
	sources []string // in the stage's folder
	to      string   // in the image; a folder if it ends in a slash
}

// parse reads the last stage of a Dockerfile. Earlier stages are another's work: only their names matter, to COPY.
// What it does not know it refuses, so that nothing is left out in silence.
func parse(text string) (recipe, error) {
	var r recipe
	base := ""
	for _, line := range instructions(text) {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if word == "FROM" {
			r, base = recipe{}, strings.Fields(rest)[0]
			continue
		}
		if base != "scratch" {
			continue
		}
		if err := r.add(word, rest); err != nil {
			return recipe{}, fmt.Errorf("%s %s: %w", word, rest, err)
		}
	}
	if base != "scratch" {
		return recipe{}, fmt.Errorf("the last stage begins FROM %s; only scratch needs no registry", base)
	}
	return r, nil
}

// instructions splits a Dockerfile into its instructions, continued lines joined, comments and empty lines left out.
func instructions(text string) []string {
	var all []string
	joined := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if part, more := strings.CutSuffix(line, `\`); more {
			joined += part + " "
			continue
		}
		if joined += line; joined != "" {
			all = append(all, joined)
		}
		joined = ""
	}
	return all
}

func (r *recipe) add(word, rest string) error {
	switch word {
	case "COPY", "ADD":
		return r.addStep(word, rest)
	case "ENV":
		return r.addEnv(rest)
	case "USER":
		r.config.User = rest
	case "WORKDIR":
		r.config.WorkingDir = rest
	case "STOPSIGNAL":
		r.config.StopSignal = rest
	case "LABEL":
		return r.addLabel(rest)
	case "ENTRYPOINT":
		return list(rest, &r.config.Entrypoint)
	case "CMD":
		return list(rest, &r.config.Cmd)
	default:
		return fmt.Errorf("not known here: COPY, ADD, ENV, USER, WORKDIR, STOPSIGNAL, LABEL, ENTRYPOINT and CMD are")
	}
	return nil
}

func (r *recipe) addStep(word, rest string) error {
	s := step{unpack: word == "ADD"}
	words := strings.Fields(rest)
	if len(words) > 0 && strings.HasPrefix(words[0], "--") {
		stage, ok := strings.CutPrefix(words[0], "--from=")
		if !ok || s.unpack {
			return fmt.Errorf("only COPY --from is known here")
		}
		s.stage, words = stage, words[1:]
	}
	if len(words) < 2 {
		return fmt.Errorf("name what to copy and where to")
	}
	s.sources, s.to = words[:len(words)-1], words[len(words)-1]
	if len(s.sources) > 1 && !strings.HasSuffix(s.to, "/") {
		return fmt.Errorf("several files go to a folder: end it in a slash")
	}
	r.steps = append(r.steps, s)
	return nil
}

func (r *recipe) addEnv(rest string) error {
	for _, entry := range strings.Fields(rest) {
		if !strings.Contains(entry, "=") || strings.ContainsAny(entry, `"'\$`) {
			return fmt.Errorf("want NAME=VALUE, without quotes, blanks or other variables")
		}
		r.config.Env = append(r.config.Env, entry)
	}
	return nil
}

func (r *recipe) addLabel(rest string) error {
	key, quoted, _ := strings.Cut(rest, "=")
	value, err := strconv.Unquote(quoted)
	if err != nil {
		return fmt.Errorf(`want one KEY="VALUE"`)
	}
	if r.config.Labels == nil {
		r.config.Labels = map[string]string{}
	}
	r.config.Labels[key] = value
	return nil
}

// list reads a command in its JSON form; the other form needs a shell, which these images lack.
func list(rest string, into *[]string) error {
	if err := json.Unmarshal([]byte(rest), into); err != nil {
		return fmt.Errorf(`want ["WORD", ...]: there is no shell in the image`)
	}
	return nil
}
