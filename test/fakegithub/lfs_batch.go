package fakegithub

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// How long the actions of a batch are valid.
const (
	downloadLife = time.Hour
	uploadLife   = 15 * time.Minute
)

// A batchRequest is a request of git-lfs.
type batchRequest struct {
	Operation string      `json:"operation"`
	Transfers []string    `json:"transfers"`
	Ref       *lfsRef     `json:"ref"`
	Objects   []lfsObject `json:"objects"`
	HashAlgo  string      `json:"hash_algo"`
}

type lfsRef struct {
	Name string `json:"name"`
}

type lfsObject struct {
	OID  string `json:"oid"`
	Size *int64 `json:"size"`
}

// batch answers where objects are transferred. GitHub supports only the basic transfer.
func (c lfsCall) batch() answer {
	var b batchRequest
	if no := c.decode(&b); no != nil {
		return no.lfsAnswer()
	}
	if no := c.checkBatch(b); no != nil {
		return no.lfsAnswer()
	}
	objects := make([]object, len(b.Objects))
	for i, o := range b.Objects {
		objects[i] = object{"oid": o.OID, "size": *o.Size}
		if b.Operation == "upload" {
			c.offerUpload(objects[i], o)
		} else {
			c.offerDownload(objects[i], o)
		}
	}
	return ok(object{"transfer": "basic", "objects": objects, "hash_algo": "sha256"})
}

func (c lfsCall) checkBatch(b batchRequest) *refusal {
	switch {
	case b.Operation != "download" && b.Operation != "upload":
		return refuse(http.StatusUnprocessableEntity, "Invalid operation")
	case len(b.Transfers) > 0 && !slices.Contains(b.Transfers, "basic"):
		return refuse(http.StatusUnprocessableEntity, "Unsupported transfer adapters")
	case b.HashAlgo != "" && b.HashAlgo != "sha256":
		return refuse(http.StatusConflict, "Unsupported hash algorithm")
	case len(b.Objects) == 0:
		return refuse(http.StatusUnprocessableEntity, "No objects")
	case len(b.Objects) > maxLFSObjects:
		return refuse(http.StatusRequestEntityTooLarge, "Too many objects")
	}
	for _, o := range b.Objects {
		if !isOID256(o.OID) || o.Size == nil || *o.Size < 0 {
			return refuse(http.StatusUnprocessableEntity, "Invalid object")
		}
	}
	if b.Operation == "upload" {
		return c.mayWrite("upload Git LFS objects")
	}
	if !c.mayRead() {
		return refuse(http.StatusForbidden, msgLFSNoPull+"download Git LFS objects")
	}
	return nil
}

func isOID256(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}

func (c lfsCall) offerDownload(out object, o lfsObject) {
	known := c.s.state.lfsOf(c.repo.ID).objects[o.OID]
	if !known.verified || known.size != *o.Size {
		out["error"] = object{"code": http.StatusNotFound, "message": msgLFSNoObject}
		return
	}
	expires := c.s.Now().Add(downloadLife).Truncate(time.Second)
	out["actions"] = object{"download": object{
		"href": c.s.signedURL(c.repo.ID, o.OID, downloadLife), "expires_at": timestamp(expires), "expires_in": int(downloadLife.Seconds()),
	}}
}

// offerUpload omits the actions for an object that GitHub already has.
func (c lfsCall) offerUpload(out object, o lfsObject) {
	lfs := c.s.state.lfsOf(c.repo.ID)
	switch known := lfs.objects[o.OID]; {
	case *o.Size > maxLFSSize:
		out["error"] = object{"code": http.StatusUnprocessableEntity, "message": msgLFSTooLarge}
		return
	case known.verified && known.size == *o.Size:
		return
	}
	expires := c.s.Now().Add(uploadLife).Truncate(time.Second)
	href, header := c.s.signedUpload(c.repo.ID, o.OID, *o.Size)
	out["actions"] = object{
		"upload": object{"href": href, "header": header, "expires_at": timestamp(expires), "expires_in": int(uploadLife.Seconds())},
		"verify": object{
			"href":       c.s.storage.url + "/" + c.repo.FullName() + "/objects/" + o.OID + "/verify",
			"header":     object{"Authorization": "RemoteAuth " + c.s.remoteAuth(c.repo.ID, o.OID, expires), "Accept": lfsMedia},
			"expires_at": timestamp(expires), "expires_in": int(uploadLife.Seconds()),
		},
	}
}
