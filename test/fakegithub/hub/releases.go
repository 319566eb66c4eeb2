package hub

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/test/fakegithub"
)

type release struct {
	id                      int64
	tag, target, name, body string
	author                  string
	draft, prerelease       bool
	created, published      time.Time
	assets                  []*asset
}

type asset struct {
	id         int64
	name, kind string
	size       int64
	file       string // in storage
	uploader   string
	created    time.Time
}

func (h *Hub) releaseRoutes() {
	h.in("GET", "/releases", "contents:read", func(r request) fakegithub.Answer { return listed(r, newestFirst(r.st.releases), r.showRelease) })
	h.in("POST", "/releases", "contents:write", postRelease)
	h.in("GET", "/releases/latest", "contents:read", latestRelease)
	h.in("GET", "/releases/{release}", "contents:read", ofRelease(func(r request, x *release) fakegithub.Answer { return ok(r.showRelease(x)) }))
	h.in("PATCH", "/releases/{release}", "contents:write", ofRelease(patchRelease))
	h.in("DELETE", "/releases/{release}", "contents:write", ofRelease(deleteRelease))
	h.in("GET", "/releases/{release}/{rest}", "contents:read", belowReleases)
	h.in("DELETE", "/releases/assets/{asset}", "contents:write", deleteAsset)
	h.uploads()
}

func deleteAsset(r request) fakegithub.Answer {
	for _, x := range r.st.releases {
		for n, a := range x.assets {
			if a.id == r.pathID("asset") {
				x.assets = slices.Delete(x.assets, n, n+1)
				return noContent
			}
		}
	}
	return r.notFound()
}

// uploads adds the upload endpoint. It is at a separate host for github.com, and below
// /api/uploads at an Enterprise Server.
func (h *Hub) uploads() {
	for _, at := range []string{"/api/uploads", "/uploads"} {
		h.s.Handle("POST "+at+"/repos/{owner}/{repo}/releases/{release}/assets", func(c fakegithub.Call) fakegithub.Answer {
			repo, no := c.Repository()
			if no == nil {
				no = permitted(c, repo, "contents:write")
			}
			if no != nil {
				return *no
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			return ofRelease(postAsset)(request{c, h, repo, h.of(repo)})
		})
	}
}

// belowReleases distinguishes paths that http.ServeMux cannot.
func belowReleases(r request) fakegithub.Answer {
	switch {
	case r.PathValue("release") == "tags":
		return releaseByTag(r)
	case r.PathValue("release") == "assets":
		return getAsset(r)
	case r.PathValue("rest") == "assets":
		return ofRelease(func(r request, x *release) fakegithub.Answer { return listed(r, x.assets, r.showAsset) })(r)
	}
	return r.notFound()
}

func ofRelease(do func(request, *release) fakegithub.Answer) handler {
	return func(r request) fakegithub.Answer {
		for _, x := range r.st.releases {
			if x.id == r.pathID("release") {
				return do(r, x)
			}
		}
		return r.notFound()
	}
}

type releaseEdit struct {
	TagName                string `json:"tag_name"`
	TargetCommitish        string `json:"target_commitish"`
	Name, Body             *string
	Draft, Prerelease      *bool
	GenerateReleaseNotes   bool   `json:"generate_release_notes"`
	MakeLatest             string `json:"make_latest"`
	DiscussionCategoryName string `json:"discussion_category_name"`
}

func postRelease(r request) fakegithub.Answer {
	var in releaseEdit
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if in.TagName == "" {
		return r.failed(invalid("Release", "tag_name", "missing_field", ""))
	}
	for _, x := range r.st.releases {
		if x.tag == in.TagName {
			return r.failed(invalid("Release", "tag_name", "already_exists", ""))
		}
	}
	x := &release{id: r.h.s.NextID(), tag: in.TagName, target: in.TargetCommitish, author: r.Bot(), created: r.h.s.Now()}
	if x.target == "" {
		x.target = "main"
	}
	if f := r.change(x, in); f != nil {
		return r.failed(f)
	}
	r.st.releases = append(r.st.releases, x)
	a := created(r.showRelease(x))
	a.Header = http.Header{"Location": {r.api("/releases/%d", x.id)}}
	return a
}

// change edits a release. A published release needs a tag, which is created if it does
// not exist.
func (r request) change(x *release, in releaseEdit) *failure {
	if in.Name != nil {
		x.name = *in.Name
	}
	if in.Body != nil {
		x.body = *in.Body
	}
	if in.Prerelease != nil {
		x.prerelease = *in.Prerelease
	}
	if in.Draft != nil {
		x.draft = *in.Draft
	}
	if x.draft || !x.published.IsZero() {
		return nil
	}
	tag := "refs/tags/" + x.tag
	if r.git().ref(tag) == "" {
		target := r.git().commit(x.target)
		if target == "" {
			return invalid("Release", "target_commitish", "invalid", "")
		}
		if f := r.createRef(tag, target); f != nil {
			return invalid("Release", "tag_name", "custom", "tag_name is not a valid tag")
		}
	}
	x.published = r.h.s.Now()
	return nil
}

func patchRelease(r request, x *release) fakegithub.Answer {
	var in releaseEdit
	if no := r.Decode(&in); no != nil {
		return *no
	}
	if f := r.change(x, in); f != nil {
		return r.failed(f)
	}
	return ok(r.showRelease(x))
}

// deleteRelease deletes a release, but not its tag.
func deleteRelease(r request, x *release) fakegithub.Answer {
	r.st.releases = slices.DeleteFunc(r.st.releases, func(other *release) bool { return other == x })
	return noContent
}

func latestRelease(r request) fakegithub.Answer {
	if x := r.st.latest(); x != nil {
		return ok(r.showRelease(x))
	}
	return r.notFound()
}

// latest returns the newest release that is neither a draft nor a prerelease; nil if
// there is none.
func (st *repository) latest() *release {
	for _, x := range newestFirst(st.releases) {
		if !x.draft && !x.prerelease {
			return x
		}
	}
	return nil
}

func releaseByTag(r request) fakegithub.Answer {
	for _, x := range r.st.releases {
		if x.tag == r.PathValue("rest") && !x.draft {
			return ok(r.showRelease(x))
		}
	}
	return r.notFound()
}

func postAsset(r request, x *release) fakegithub.Answer {
	name := r.URL.Query().Get("name")
	if name == "" {
		return r.failed(invalid("ReleaseAsset", "name", "missing_field", ""))
	}
	text, _ := io.ReadAll(r.Body) // in memory already
	a := &asset{id: r.h.s.NextID(), name: name, kind: r.Header.Get("Content-Type"), size: int64(len(text)), uploader: r.Bot(), created: r.h.s.Now()}
	a.file = r.h.storage.put(stored{name, a.kind, bytes.NewReader(text), a.size})
	x.assets = append(x.assets, a)
	return created(r.showAsset(a))
}

// getAsset answers with JSON, or with the file itself if the request accepts that.
func getAsset(r request) fakegithub.Answer {
	for _, x := range r.st.releases {
		for _, a := range x.assets {
			if a.id != r.pathID("rest") {
				continue
			}
			if strings.Contains(r.Header.Get("Accept"), "application/octet-stream") {
				return r.redirect(a.file)
			}
			return ok(r.showAsset(a))
		}
	}
	return r.notFound()
}

func (r request) showRelease(x *release) object {
	self := r.api("/releases/%d", x.id)
	upload := r.HTML("/api/uploads")
	if !r.Enterprise() {
		upload = r.HTML("/uploads")
	}
	return object{
		"url": self, "html_url": r.html("/releases/tag/%s", x.tag), "assets_url": self + "/assets",
		"upload_url":  upload + "/repos/" + r.repo.FullName() + "/releases/" + strconv.FormatInt(x.id, 10) + "/assets{?name,label}",
		"tarball_url": r.api("/tarball/%s", x.tag), "zipball_url": r.api("/zipball/%s", x.tag), "id": x.id,
		"node_id": nodeID("RE", r.repo.ID, strconv.FormatInt(x.id, 10)), "tag_name": x.tag, "target_commitish": x.target, "name": x.name, "body": x.body,
		"draft": x.draft, "prerelease": x.prerelease, "immutable": false, "author": r.user(x.author), "created_at": timestamp(x.created), "published_at": maybe(x.published),
		"updated_at": timestamp(x.created), "assets": showAll(x.assets, r.showAsset),
	}
}

func (r request) showAsset(a *asset) object {
	return object{
		"url": r.api("/releases/assets/%d", a.id), "browser_download_url": r.html("/releases/download/%d/%s", a.id, a.name), "id": a.id,
		"node_id": nodeID("RA", r.repo.ID, strconv.FormatInt(a.id, 10)), "name": a.name, "label": nil, "state": "uploaded", "content_type": a.kind,
		"size": a.size, "digest": nil, "download_count": 0, "uploader": r.user(a.uploader), "created_at": timestamp(a.created), "updated_at": timestamp(a.created),
	}
}
