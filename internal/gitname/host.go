// Package gitname parses the names in a git URL: the host, and owner/repository. It
// returns each in the one form that gatepass compares.
package gitname

import "strings"

// Host returns host in the one form that gatepass compares: lower case, without a
// default port. ok is false for anything but a plain DNS name, an IPv4 address or a
// bracketed IPv6 address, each with an optional port; git decodes percent-escapes, so a
// host can contain any byte.
func Host(host string) (canonical string, ok bool) {
	name, port, ok := splitPort(host)
	if !ok || !validName(name) {
		return "", false
	}
	name = Fold(name)
	if port == "" || port == "443" {
		return name, true
	}
	return name + ":" + port, true
}

// splitPort splits a port off the end. An IPv6 address keeps its brackets.
func splitPort(host string) (name, port string, ok bool) {
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", "", false
		}
		name, port = host[:end+1], host[end+1:]
		if port == "" {
			return name, "", true
		}
		if port[0] != ':' {
			return "", "", false
		}
		return name, port[1:], validPort(port[1:])
	}
	name, port, hasPort := strings.Cut(host, ":")
	return name, port, !hasPort || validPort(port)
}

// validPort accepts 1 to 65535 without leading zeros.
func validPort(s string) bool {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

func validName(name string) bool {
	if strings.HasPrefix(name, "[") {
		return validIPv6(name)
	}
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

// validLabel also refuses an empty label, so "github.com." and "a..b" are not valid
// hosts.
func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for i := 0; i < len(label); i++ {
		c := label[i]
		if !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// validIPv6 checks only the characters: the comparison is exact, so a malformed address
// matches nothing.
func validIPv6(name string) bool {
	inside := strings.TrimSuffix(name[1:], "]")
	if len(inside) < 2 || len(inside) > 45 || !strings.Contains(inside, ":") {
		return false
	}
	for i := 0; i < len(inside); i++ {
		c := inside[i]
		if !isHex(c) && c != ':' && c != '.' {
			return false
		}
	}
	return true
}

// IsLoopback reports whether a host in the form of [Host] is a loopback address: one of
// 127.0.0.0/8 in four decimal numbers, or [::1]. It is false for a name, whose address
// depends on the resolver.
func IsLoopback(host string) bool {
	name, _, ok := splitPort(host)
	if name == "[::1]" {
		return ok
	}
	numbers := strings.Split(name, ".")
	if !ok || len(numbers) != 4 || numbers[0] != "127" {
		return false
	}
	for _, n := range numbers {
		if len(n) > 3 || len(n) > 1 && n[0] == '0' || n == "" || strings.Trim(n, "0123456789") != "" || len(n) == 3 && n > "255" {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// Fold returns s with A-Z in lower case and nothing else changed: Unicode
// folding equates characters such as U+212A
// and k.
func Fold(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
