import { defineProblems } from '@sidecart/kit/problem';

/** What the gateway may answer beyond the problems that every service has. */
export const problems = defineProblems({
  upstream_refused: {
    status: 502,
    title: 'The gateway may not ask the service behind it',
    cure: 'Report the trace_id: the access policy and the routes of the gateway do not fit together.',
  },
  upstream_invalid: {
    status: 502,
    title: 'The service behind the gateway answered something that it cannot read',
    cure: 'Report the trace_id: the gateway and the service may be of versions that do not fit together.',
  },
});
