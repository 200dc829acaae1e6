package crs

import (
	"fmt"
	"strings"
)

// Ids of the rules of this package. The rule set and its plugins are below.
const (
	idSetup     = 77000000
	idArguments = 77000001 // more arguments than are looked at
	idProcessor = 77000002 // with what content of no known type is read
)

// RuleContentType is the rule about the media types that content may have.
const RuleContentType = "920420"

// variables of a transaction that this package sets.
const (
	varProcessor = "edge_processor" // TEXT, or JSON
)

// head is what goes in front of the rule set.
func (o *Options) head(limits Limits) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Include @coraza.conf-recommended")
	line("SecRuleEngine On") // what a mode makes of the verdict is the caller's business
	line("SecAuditEngine Off")
	line("SecRequestBodyAccess On")
	// The content comes already cut to the limit, so the engine never sees its own.
	line("SecRequestBodyLimitAction ProcessPartial")
	line("SecRequestBodyLimit %d", limits.Body+slack)
	line("SecRequestBodyInMemoryLimit %d", limits.Body+slack)
	line("SecResponseBodyLimitAction ProcessPartial")
	line("SecResponseBodyLimit %d", limits.Response+slack)
	line("SecResponseBodyAccess On")
	line("SecResponseBodyMimeTypesClear")
	if len(limits.ResponseTypes) > 0 {
		line("SecResponseBodyMimeType %s", strings.Join(limits.ResponseTypes, " "))
	}
	line("SecArgumentsLimit %d", o.MaxArgs)
	// Else an attacker hides behind arguments that nobody looks at.
	line(`SecRule ARGUMENTS_LIMIT_REACHED "@eq 1" "id:%d,phase:2,t:none,deny,status:403,log,severity:'CRITICAL',msg:'More arguments than are looked at',tag:'edge-arguments'"`, idArguments)
	for n, p := range []struct {
		name   Processor
		engine string
	}{{ProcessorText, "RAW"}, {ProcessorJSON, "JSON"}, {ProcessorXML, "XML"}} {
		line(`SecRule TX:%s "@streq %s" "id:%d,phase:1,t:none,pass,nolog,ctl:requestBodyProcessor=%s"`, varProcessor, p.name, idProcessor+n, p.engine)
	}
	return b.String()
}

// slack is what mending the end of cut content may add.
const slack = 64 << 10

// setup is the configuration of the rule set.
func (o *Options) setup() string {
	var b strings.Builder
	b.WriteString("Include @crs-setup.conf.example\n")
	// The engine has rules of these phases say nothing unless told, and the setup tells it
	// for the others only.
	for phase := 3; phase <= 5; phase++ {
		fmt.Fprintf(&b, "SecDefaultAction \"phase:%d,log,auditlog,pass\"\n", phase)
	}
	fmt.Fprintf(&b, `SecAction "id:%d,phase:1,pass,t:none,nolog`, idSetup)
	set := func(name, format string, args ...any) {
		fmt.Fprintf(&b, `,setvar:'tx.%s=%s'`, name, fmt.Sprintf(format, args...))
	}
	set("blocking_paranoia_level", "%d", o.Paranoia)
	set("detection_paranoia_level", "%d", o.DetectionParanoia)
	set("inbound_anomaly_score_threshold", "%d", o.Inbound)
	set("outbound_anomaly_score_threshold", "%d", o.Outbound)
	if o.EarlyBlock {
		set("early_blocking", "1")
	}
	methods := o.AllowedMethods
	if len(methods) == 0 {
		methods = DefaultMethods
	}
	set("allowed_methods", "%s", strings.Join(methods, " "))
	set("allowed_request_content_type", "%s", bracket("|", o.contentTypes()))
	if len(o.RestrictedExtensions) > 0 {
		var list []string
		for _, ext := range o.RestrictedExtensions {
			list = append(list, "."+strings.ToLower(strings.TrimPrefix(ext, "."))+"/")
		}
		set("restricted_extensions", "%s", strings.Join(list, " "))
	}
	set("restricted_headers_basic", "%s", bracket("/", o.restricted()))
	for _, limit := range []struct {
		name string
		n    int
	}{{"max_num_args", o.MaxArgs}, {"arg_name_length", o.MaxArgName}, {"arg_length", o.MaxArgValue}, {"total_arg_length", o.MaxArgsTotal}} {
		if limit.n > 0 {
			set(limit.name, "%d", limit.n)
		}
	}
	b.WriteString("\"\n")
	return b.String()
}

// restricted returns the fields that requests must not have.
func (o *Options) restricted() []string {
	if len(o.RestrictedHeaders) > 0 {
		return o.RestrictedHeaders
	}
	return restrictedHeaders
}

// bracket writes a list in the form of the rule set: |a| |b|.
func bracket(sign string, words []string) string {
	var list []string
	for _, word := range words {
		list = append(list, sign+strings.ToLower(word)+sign)
	}
	return strings.Join(list, " ")
}
