package main

import (
	"bytes"
	"hash/crc32"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOriginPages(t *testing.T) {
	o := startTestOrigin(t)
	page, pageFetches := o.page(reply{fields: cacheable, size: 10})
	folder, folderFetches := o.folder(reply{status: http.StatusAccepted, more: addPurgeTag})

	got := fetch(t, o.addr, page)
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Equal(t, cacheable["Etag"], got.Header.Get("Etag"))
	require.EqualValues(t, 10, got.ContentLength)

	require.Equal(t, "t7", fetch(t, o.addr, folder+"f1/1007").Header.Get("Surrogate-Key"))
	require.Equal(t, http.StatusAccepted, fetch(t, o.addr, folder+"a").StatusCode)
	require.Equal(t, http.StatusNotFound, fetch(t, o.addr, "/other").StatusCode)
	require.EqualValues(t, 1, pageFetches.Load())
	require.EqualValues(t, 2, folderFetches.Load())
}

// fetch returns a response whose body was read.
func fetch(t *testing.T, addr, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

func TestStreamTakesItsTime(t *testing.T) {
	o := startTestOrigin(t)
	path, _ := o.page(reply{size: 300_000, pace: 100 * time.Millisecond})
	got, err := getOnce(t.Context(), o.addr, &request{path: path}, time.Minute)
	require.NoError(t, err)
	require.EqualValues(t, 300_000, got.length)
	require.Equal(t, checksum(300_000), got.sum)
	require.GreaterOrEqual(t, got.last.Sub(got.first), 50*time.Millisecond)
}

func TestChecksum(t *testing.T) {
	require.Zero(t, checksum(0))
	body := bytes.Repeat(pattern, 2)
	require.Equal(t, crc32.Checksum(body[:70_000], castagnoli), checksum(70_000))
	// A piece that is missing or comes twice shows.
	require.NotEqual(t, crc32.Checksum(body[1:70_001], castagnoli), checksum(70_000))
}
