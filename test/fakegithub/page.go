package fakegithub

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	defaultPerPage = 30
	maxPerPage     = 100
)

// page returns the requested page of items and the Link header that GitHub would send
// with it. Invalid numbers count as absent.
func page[T any](c call, items []T) ([]T, http.Header) {
	q := c.r.URL.Query()
	size := min(positive(q.Get("per_page"), defaultPerPage), maxPerPage)
	number := positive(q.Get("page"), 1)
	last := max(1, (len(items)+size-1)/size)
	header := http.Header{}
	if link := links(c, size, number, last); link != "" {
		header.Set("Link", link)
	}
	if number > last {
		return nil, header
	}
	from := (number - 1) * size
	return items[from:min(from+size, len(items))], header
}

func positive(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}

func links(c call, size, number, last int) string {
	var out []string
	q := c.r.URL.Query()
	q.Del("per_page")
	q.Del("page")
	rest := q.Encode()
	if rest != "" {
		rest += "&"
	}
	add := func(rel string, n int) {
		out = append(out, fmt.Sprintf(`<https://%s%s%s?%sper_page=%d&page=%d>; rel=%q`, c.r.Host, c.prefix, c.linkPath(), rest, size, n, rel))
	}
	if number > 1 {
		add("prev", min(number-1, last))
	}
	if number < last {
		add("next", number+1)
		add("last", last)
	}
	if number > 1 {
		add("first", 1)
	}
	return strings.Join(out, ", ")
}

// linkPath returns the path for a Link header, where GitHub names a repository by its
// ID.
func (c call) linkPath() string {
	rest, named := strings.CutPrefix(c.r.URL.EscapedPath(), "/repos/")
	repo, moved := c.repository()
	if !named || repo == nil || moved {
		return c.r.URL.EscapedPath()
	}
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 3 {
		return c.r.URL.EscapedPath()
	}
	return fmt.Sprintf("/repositories/%d/%s", repo.ID, parts[2])
}
