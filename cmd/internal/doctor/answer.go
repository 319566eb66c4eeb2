package doctor

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// parseAnswer reads the agent's answer to git. given is false if it holds no token.
func parseAnswer(text string) (token credential.Token, given bool) {
	var secret string
	var expiry time.Time
	for line := range strings.SplitSeq(text, "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "password":
			secret = value
		case "password_expiry_utc":
			if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
				expiry = time.Unix(seconds, 0)
			}
		}
	}
	return credential.NewToken(secret, expiry), secret != ""
}

func permissions(levels map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		texts = append(texts, name+": "+levels[name])
	}
	return strings.Join(texts, ", ")
}
