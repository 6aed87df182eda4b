import { defineProblems } from '@sidecart/kit/problem';
import type { ProblemDefinition } from '@sidecart/kit/problem-definitions';
import type { CondenseRefusal } from './errors.ts';

/** What an operator's request to the event store may be answered with; a service that mounts it adds these to its own problems. */
export const eventStoreProblems = defineProblems({
  no_stream: {
    status: 404,
    title: 'There is no such history',
    cure: 'Check the id of the stream; it is that of the thing, such as an order.',
  },
  nothing_to_condense: {
    status: 409,
    title: 'There are no two events that one could take the place of',
    cure: 'Nothing is to be done: the stream is short already.',
  },
  closed_unknown: {
    status: 409,
    title: 'Nobody can tell which of these are closed',
    cure: 'Take open ones too, or have the aggregate say when it is closed (isClosed).',
  },
  replay_differs: {
    status: 409,
    title: 'The state would be another one afterwards',
    cure: 'Have the state of the aggregate be what JSON can say, and evolve depend on nothing else.',
  },
  unknown_shape: {
    status: 409,
    title: 'An event was written by newer code than this',
    cure: 'Run the code that wrote it, or newer, or give the aggregate the upcaster that it lacks.',
  },
  projection_behind: {
    status: 409,
    title: 'A read model has not done these events yet',
    cure: 'Try again when it has (npm run events -- status); one that no code has any more is forgotten by npm run events -- forget.',
  },
  foreign_position: {
    status: 409,
    title: 'The database was restored from a dump',
    cure: 'npm run events -- adopt.',
  },
  message_unsent: {
    status: 409,
    title: 'A message of this stream is not yet sent',
    cure: 'Try again later; a delayed one is sent when it is due.',
  },
  message_kept: {
    status: 409,
    title: 'Messages of this stream are still kept for receivers that miss them',
    cure: 'Try again when they are dropped, a week after they were sent.',
  },
  changed_meanwhile: {
    status: 409,
    title: 'Somebody else has condensed or restored it meanwhile',
    cure: 'Look at its history, and try again if that is still wanted.',
  },
  nothing_to_restore: {
    status: 409,
    title: 'No archive of this stream is in force',
    cure: 'Nothing is to be done: all its events are in its history.',
  },
  projection_building: {
    status: 409,
    title: 'A read model is being built',
    cure: 'Try again when it is done (npm run events -- status).',
  },
  archive_damaged: {
    status: 409,
    title: 'The archive is not what was put into it',
    cure: 'Bring it back from a backup; the stream is as it was.',
  },
  archive_too_large: {
    status: 409,
    title: 'The archive would be larger than a sidecar takes',
    cure: 'Condense it in parts: --up-to a version in the middle, then the rest.',
  },
  archive_unavailable: {
    status: 503,
    title: 'The archive is away',
    cure: 'Look at the component that keeps it, and at the log of the sidecar; then try again.',
  },
  unknown_projection: {
    status: 404,
    title: 'There is no read model of this name',
    cure: 'npm run events -- status shows which there are.',
  },
  projection_in_use: {
    status: 409,
    title: 'The code that runs has this read model',
    cure: 'Only one that no code has any more can be forgotten; to make it anew, rebuild it.',
  },
} satisfies Record<CondenseRefusal, ProblemDefinition> & Record<string, ProblemDefinition>);
