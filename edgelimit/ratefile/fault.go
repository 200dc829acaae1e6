package ratefile

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What the YAML library says of a field that there is not, and of a value of the
// wrong type.
var (
	unknownField = regexp.MustCompile(`^line (\d+): field (.*) not found in type `)
	wrongType    = regexp.MustCompile("^line (\\d+): cannot unmarshal !!\\w+ (?:`(.*)` )?into (.*)$")
)

// wanted are the types of the fields, as people call them.
var wanted = map[string]string{
	"float64": "a number", "int": "a whole number", "bool": "true or false", "string": "a text", "[]string": "a list", "[]ratefile.Rule": "a list of rules",
}

// fault puts the errors of the YAML library in terms of the file.
func fault(text []byte, err error) error {
	list, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	var faults []error
	for _, said := range list.Errors {
		if m := unknownField.FindStringSubmatch(said); m != nil {
			said = fmt.Sprintf("line %s: unknown field %q", m[1], m[2])
		} else if m := wrongType.FindStringSubmatch(said); m != nil {
			said = "line " + m[1] + ": " + wrong(text, m[1], m[2], m[3])
		}
		faults = append(faults, errors.New(said))
	}
	return errors.Join(faults...)
}

// wrong says which field has a value of the wrong type, and what it wants.
func wrong(text []byte, line, value, kind string) string {
	want, ok := wanted[kind]
	if !ok {
		want = "fields, each with a value"
	}
	var (
		doc   yaml.Node
		field string
	)
	if n, err := strconv.Atoi(line); err == nil && yaml.Unmarshal(text, &doc) == nil {
		field = fieldOf(&doc, n, value)
	}
	if field == "rate" {
		want = wantRate
	}
	if field != "" {
		field += ": "
	}
	if value == "" {
		return field + "invalid value: want " + want
	}
	return field + "invalid value " + strconv.Quote(value) + ": want " + want
}

// fieldOf returns the name of the innermost field whose value begins in a line. The
// library cuts long values short.
func fieldOf(node *yaml.Node, line int, value string) string {
	short, cut := strings.CutSuffix(value, "...")
	for i, child := range node.Content {
		if name := fieldOf(child, line, value); name != "" {
			return name
		}
		if node.Kind == yaml.MappingNode && i%2 == 1 && child.Line == line &&
			(value == child.Value || cut && strings.HasPrefix(child.Value, short)) {
			return node.Content[i-1].Value
		}
	}
	return ""
}
