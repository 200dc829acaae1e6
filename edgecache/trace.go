package edgecache

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is the instrumentation scope of the spans.
const tracerName = "github.com/caddyedge/caddy-edge/edgecache"

// annotateSpan tells the outcome to the request's span, when Caddy's tracing
// directive has made one.
func annotateSpan(ctx context.Context, s *status) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("edge_cache.status", s.result.String()),
		attribute.String("edge_cache.detail", s.detail().String()),
		attribute.Bool("edge_cache.collapsed", s.collapsed),
	)
}

// startSpan makes a span for a fetch when the request is traced. Without
// tracing it returns ctx itself.
func startSpan(ctx context.Context, name string) (context.Context, func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, "edge_cache.fetch",
		trace.WithAttributes(attribute.String("edge_cache.name", name)))
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
