package rfc9111

import "github.com/dunglas/httpsfv"

// ParseCacheGroups parses the lines of a Cache-Groups or Cache-Group-Invalidation
// field (RFC 9875): a List of Strings, parameters ignored, duplicates removed. A
// field that does not parse, or has a member of another type, gives nil.
func ParseCacheGroups(values []string) []string {
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		return nil
	}
	var groups []string
	seen := make(map[string]bool, len(list))
	for _, m := range list {
		item, _ := m.(httpsfv.Item)
		group, ok := item.Value.(string)
		if !ok {
			return nil
		}
		if !seen[group] {
			seen[group] = true
			groups = append(groups, group)
		}
	}
	return groups
}
