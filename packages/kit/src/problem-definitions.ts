/** What a code always means; the same words in every answer and in docs/problems.md. */
export interface ProblemDefinition {
  status: number;
  title: string;
  /** What the caller can do about it. */
  cure: string;
}

/** Problems any service may answer with. */
export const genericProblems = {
  malformed_json: {
    status: 400,
    title: 'The body is not well-formed JSON',
    cure: 'Send one JSON document in UTF-8, nested at most 32 levels deep.',
  },
  validation_failed: {
    status: 422,
    title: 'The request breaks its schema',
    cure: 'Correct every place listed in errors; the schema is in /openapi.json.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The body must be JSON',
    cure: 'Send Content-Type: application/json, in UTF-8 and uncompressed.',
  },
  payload_too_large: {
    status: 413,
    title: 'The body is too large',
    cure: 'Split the request into smaller ones.',
  },
  headers_too_large: {
    status: 431,
    title: 'The headers are too large',
    cure: 'Send fewer or shorter headers.',
  },
  bad_request: {
    status: 400,
    title: 'The request is not well-formed HTTP',
    cure: 'Check the request line, the Host header and the framing of the body.',
  },
  request_timeout: {
    status: 408,
    title: 'The request did not arrive in time',
    cure: 'Send the whole request within 30 seconds.',
  },
  route_not_found: {
    status: 404,
    title: 'There is nothing at this path',
    cure: 'See /openapi.json for the paths there are.',
  },
  method_not_allowed: {
    status: 405,
    title: 'This path does not take this method',
    cure: 'Use a method of the Allow header.',
  },
  idempotency_key_missing: {
    status: 400,
    title: 'The Idempotency-Key header is missing',
    cure: 'Send a fresh key with each new request and the same key when you repeat it.',
  },
  idempotency_key_invalid: {
    status: 400,
    title: 'The Idempotency-Key header is not usable',
    cure: 'Use 1 to 128 visible ASCII characters, for example a UUID.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'The Idempotency-Key was used with another body',
    cure: 'Use a fresh key for a new request; keys are kept for 24 hours.',
  },
  app_token_required: {
    status: 401,
    title: 'Only the sidecar may call this',
    cure: 'Call the service through its Dapr sidecar, or the shop through its gateway. Who runs it sends the app token to its admin API.',
  },
  actor_invalid: {
    status: 400,
    title: 'The X-Sidecart-Actor header is not usable',
    cure: "Send a name of 1 to 128 characters: visible ASCII as it is, any other as UTF-8'' and the name in percent-encoded UTF-8.",
  },
  upstream_unavailable: {
    status: 503,
    title: 'Something this service needs is away',
    cure: 'Repeat the request after Retry-After seconds, with the same Idempotency-Key.',
  },
  upstream_timeout: {
    status: 503,
    title: 'Something this service needs did not answer in time',
    cure: 'Repeat the request after Retry-After seconds, with the same Idempotency-Key.',
  },
  overloaded: { status: 503, title: 'Too much to do', cure: 'Repeat the request after Retry-After seconds.' },
  shutting_down: {
    status: 503,
    title: 'This instance is going away',
    cure: 'Repeat the request after Retry-After seconds.',
  },
  message_not_routed: {
    status: 503,
    title: 'No handler takes this message yet',
    cure: 'Deploy the version of the service that handles it; the broker delivers the message again.',
  },
  internal: {
    status: 500,
    title: 'Something went wrong inside',
    cure: 'Report the trace_id; the log of the service has the details under it.',
  },
  not_found: { status: 404, title: 'There is no such thing', cure: 'Check the id in the path.' },
  conflict: {
    status: 409,
    title: 'The current state does not allow this',
    cure: 'Read the current state, then decide again.',
  },
} satisfies Record<string, ProblemDefinition>;
