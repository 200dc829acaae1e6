package edgecache

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestSpans: the request's span tells the outcome, and a fetch has one of its own
// below it.
func TestSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	tracer := provider.Tracer("test")
	var n int
	g, cleanup := newRig(t, `{"name": "here"}`, answering(&n, 200, "x", "Cache-Control: max-age=60"))
	defer cleanup()

	// traced serves a request and returns the spans that ended with it, by name.
	seen := 0
	traced := func(method, url string) map[string]sdktrace.ReadOnlySpan {
		r := httptest.NewRequest(method, url, nil)
		ctx, span := tracer.Start(r.Context(), "request")
		g.do(r.WithContext(ctx))
		span.End()
		spans := make(map[string]sdktrace.ReadOnlySpan)
		for _, s := range recorder.Ended()[seen:] {
			spans[s.Name()] = s
			seen++
		}
		return spans
	}
	outcome := func(status, detail string) []attribute.KeyValue {
		return []attribute.KeyValue{
			attribute.String("edge_cache.status", status), attribute.String("edge_cache.detail", detail),
			attribute.Bool("edge_cache.collapsed", false),
		}
	}

	spans := traced(http.MethodGet, "http://example.com/")
	require.Len(t, spans, 2)
	require.Equal(t, outcome("store", ""), spans["request"].Attributes())
	fetch := spans["edge_cache.fetch"]
	require.Equal(t, []attribute.KeyValue{attribute.String("edge_cache.name", "here")}, fetch.Attributes())
	require.Equal(t, spans["request"].SpanContext().SpanID(), fetch.Parent().SpanID())
	require.Equal(t, spans["request"].SpanContext().TraceID(), fetch.SpanContext().TraceID())
	require.Equal(t, codes.Unset, fetch.Status().Code)

	spans = traced(http.MethodGet, "http://example.com/")
	require.Len(t, spans, 1, "a hit fetches nothing")
	require.Equal(t, outcome("hit", ""), spans["request"].Attributes())

	g.origin = failing{}
	spans = traced(http.MethodGet, "http://example.com/failing")
	require.Len(t, spans, 2)
	require.Equal(t, outcome("error", ""), spans["request"].Attributes())
	require.Equal(t, codes.Error, spans["edge_cache.fetch"].Status().Code)
	require.Len(t, spans["edge_cache.fetch"].Events(), 1, "the error")

	before := len(recorder.Started())
	g.get("http://example.com/untraced")
	require.Len(t, recorder.Started(), before)
}

// failing is a next handler that fails before it answers.
type failing struct{}

func (failing) ServeHTTP(http.ResponseWriter, *http.Request) error { return errTruncated }
