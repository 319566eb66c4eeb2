package broker

import "net/http"

// secure are the headers of every answer. Handlers set others where they need them.
var secure = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// Secured keeps browsers from doing anything with an answer that it is not for. It is
// outermost, so that refusals and errors have these headers, too.
func Secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range secure {
			w.Header().Set(name, value)
		}
		next.ServeHTTP(w, r)
	})
}
