package fakegithub

import (
	"maps"
	"net/http"
	"time"
)

// codeLife is how long the code of a manifest is good for.
const codeLife = time.Hour

// convertManifest answers a code with the App's secrets, once.
func convertManifest(c call) answer {
	if no := c.decode(&struct{}{}); no != nil {
		return no.answer()
	}
	if c.token != nil {
		return loudly("a code is converted without any other credential").answer()
	}
	code := c.r.PathValue("code")
	found := c.s.state.conversions[code]
	if found == nil || c.s.Now().Sub(found.created) > codeLife {
		return notFound.answer()
	}
	delete(c.s.state.conversions, code)
	body := maps.Clone(c.showApp(found.app))
	delete(body, "installations_count") // GitHub tells it to the App only
	body["pem"] = string(found.pem)
	body["client_secret"] = randomBase62(40)
	body["webhook_secret"] = nil // there is no webhook
	return answer{status: http.StatusCreated, body: body}
}
