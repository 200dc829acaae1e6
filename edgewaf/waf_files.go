package edgewaf

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// hashFiles returns a hash of the content of files, "" if none can be read. "*" stands for
// part of a name. What is wrong with a file shows when it is loaded.
func hashFiles(patterns ...[]string) string {
	h, n := sha256.New(), 0
	for _, list := range patterns {
		for _, pattern := range list {
			names, _ := filepath.Glob(pattern)
			for _, name := range names {
				info, err := os.Stat(name)
				if err != nil || !info.Mode().IsRegular() || info.Size() > maxHashed {
					continue
				}
				data, err := os.ReadFile(name)
				if err != nil {
					continue
				}
				fmt.Fprintf(h, "%q %d\n", name, len(data))
				h.Write(data)
				n++
			}
		}
	}
	if n == 0 {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxHashed is the largest file of rules: 32 MiB.
const maxHashed = 32 << 20
