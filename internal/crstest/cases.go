package crstest

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"go.yaml.in/yaml/v3"
)

// Case is one regression test of a rule.
type Case struct {
	Rule, ID int
	Stages   []Stage
}

// Name is such as 920100-1.
func (c *Case) Name() string { return fmt.Sprintf("%d-%d", c.Rule, c.ID) }

// Stage is one request of a case.
type Stage struct {
	Method, URI string
	// Wire is the request as it is sent.
	Wire []byte
	// Fields are those of the request with their names as they are sent.
	Fields [][2]string
	Expect Expect
}

// Expect is what a request is expected to lead to.
type Expect struct {
	// Found and NotFound are rules in the log.
	Found, NotFound []int
	// Match and NoMatch are patterns for lines of the log, nil if there are none.
	Match, NoMatch *regexp.Regexp
	// Status is that of the response, 0 if any will do.
	Status int
	// Error: the connection breaks.
	Error bool
}

// file is the format of the files.
type file struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int `yaml:"test_id"`
		Stages []struct {
			Input  input  `yaml:"input"`
			Output output `yaml:"output"`
		} `yaml:"stages"`
	} `yaml:"tests"`
}

type input struct {
	Method       *string   `yaml:"method"`
	URI          *string   `yaml:"uri"`
	Version      *string   `yaml:"version"`
	Headers      yaml.Node `yaml:"headers"`
	Ordered      []field   `yaml:"ordered_headers"`
	Data         *string   `yaml:"data"`
	EncodedData  *string   `yaml:"encoded_data"`
	Encoded      string    `yaml:"encoded_request"`
	Autocomplete *bool     `yaml:"autocomplete_headers"`
}

type field struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type output struct {
	Status int  `yaml:"status"`
	Error  bool `yaml:"expect_error"`
	Log    struct {
		Expect   []int  `yaml:"expect_ids"`
		NoExpect []int  `yaml:"no_expect_ids"`
		Match    string `yaml:"match_regex"`
		NoMatch  string `yaml:"no_match_regex"`
	} `yaml:"log"`
}

// Cases returns all regression tests.
func Cases() ([]Case, error) {
	var list []Case
	err := fs.WalkDir(tests.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := fs.ReadFile(tests.FS, path)
		if err != nil {
			return err
		}
		var f file
		if err := yaml.Unmarshal(text, &f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, t := range f.Tests {
			c := Case{Rule: f.RuleID, ID: t.ID}
			for _, s := range t.Stages {
				stage, err := newStage(&s.Input, &s.Output)
				if err != nil {
					return fmt.Errorf("%s: %d: %w", path, t.ID, err)
				}
				c.Stages = append(c.Stages, stage)
			}
			list = append(list, c)
		}
		return nil
	})
	return list, err
}

func newStage(in *input, out *output) (Stage, error) {
	s := Stage{Method: or(in.Method, "GET"), URI: or(in.URI, "/")}
	s.Expect = Expect{Found: out.Log.Expect, NotFound: out.Log.NoExpect, Status: out.Status, Error: out.Error}
	for _, p := range []struct {
		text string
		to   **regexp.Regexp
	}{{out.Log.Match, &s.Expect.Match}, {out.Log.NoMatch, &s.Expect.NoMatch}} {
		if p.text == "" {
			continue
		}
		re, err := regexp.Compile(p.text)
		if err != nil {
			return s, err
		}
		*p.to = re
	}
	if in.Encoded != "" {
		wire, err := base64.StdEncoding.DecodeString(in.Encoded)
		s.Wire = wire
		return s, err
	}
	return s, s.write(in)
}

func or(s *string, byDefault string) string {
	if s == nil {
		return byDefault
	}
	return *s
}

// write makes the request as it is sent, completed as the runner of the authors does.
func (s *Stage) write(in *input) error {
	for i := 0; i+1 < len(in.Headers.Content); i += 2 {
		s.Fields = append(s.Fields, [2]string{in.Headers.Content[i].Value, in.Headers.Content[i+1].Value})
	}
	for _, f := range in.Ordered {
		s.Fields = append(s.Fields, [2]string{f.Name, f.Value})
	}
	data := expand(or(in.Data, ""))
	if in.EncodedData != nil {
		raw, err := base64.StdEncoding.DecodeString(*in.EncodedData)
		if err != nil {
			return err
		}
		data = string(raw)
	}
	complete := in.Autocomplete == nil || *in.Autocomplete
	if data != "" && complete {
		if s.field("Content-Type") == "" && !s.has("Content-Type") {
			s.Fields = append(s.Fields, [2]string{"Content-Type", formType})
		}
		if s.field("Content-Type") == formType {
			data = encodeForm(data)
		}
	}
	if strings.Contains(s.field("Content-Type"), "multipart/form-data;") {
		data = strings.ReplaceAll(data, "\n", "\r\n")
	}
	if complete {
		if !s.has("Connection") {
			s.Fields = append(s.Fields, [2]string{"Connection", "close"})
		}
		if !s.has("Content-Length") && (data != "" || withContent.MatchString(s.Method)) {
			s.Fields = append(s.Fields, [2]string{"Content-Length", strconv.Itoa(len(data))})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\n", s.Method, s.URI, or(in.Version, "HTTP/1.1"))
	for _, f := range s.Fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	b.WriteString("\r\n")
	b.WriteString(data)
	s.Wire = []byte(b.String())
	return nil
}

// expand fills in what is written as a template. What is none stays.
func expand(data string) string {
	if !strings.Contains(data, "{{") {
		return data
	}
	t, err := template.New("").Funcs(template.FuncMap{"repeat": func(n int, s string) string { return strings.Repeat(s, n) }}).Parse(data)
	if err != nil {
		return data
	}
	var b strings.Builder
	if err := t.Execute(&b, nil); err != nil {
		return data
	}
	return b.String()
}

const formType = "application/x-www-form-urlencoded"

var withContent = regexp.MustCompile(`^(POST|PUT|PATCH|DELETE)$`)

func (s *Stage) has(name string) bool {
	for _, f := range s.Fields {
		if strings.EqualFold(f[0], name) {
			return true
		}
	}
	return false
}

func (s *Stage) field(name string) string {
	for _, f := range s.Fields {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}
