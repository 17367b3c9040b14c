package spec

import "strings"

// SplitCommand splits line at blanks. Single and double quotes keep blanks
// together, as do template braces {{ }}; there are no escapes and no
// expansion. An unclosed quote is an error.
func SplitCommand(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	in, depth := false, 0
	for i := 0; i < len(line); i++ {
		ch := line[i]
		switch {
		case depth == 0 && quote == 0 && (ch == '\'' || ch == '"'):
			quote, in = ch, true
			continue
		case quote != 0 && ch == quote:
			quote = 0
			continue
		case quote == 0 && depth == 0 && (ch == ' ' || ch == '\t' || ch == '\n'):
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
			continue
		case strings.HasPrefix(line[i:], "{{"):
			depth++
		case strings.HasPrefix(line[i:], "}}") && depth > 0:
			depth--
		}
		word.WriteByte(ch)
		in = true
	}
	if quote != 0 {
		return nil, errorf("quote %c is not closed", quote)
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
