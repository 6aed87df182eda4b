import Table from 'cli-table3';
import type { History, PolicyPage, StoreStatus } from './events-client.ts';

/** One row for each read model of each service, and under it what a person has to do. */
export function statusText(services: { service: string; store: StoreStatus }[]): string {
  const table = new Table({
    head: ['service', 'read model', 'generation', 'code', 'state', 'behind', 'built'],
    style: { head: [], border: [], compact: true },
  });
  const notes: string[] = [];
  for (const { service, store } of services) {
    for (const item of store.items) {
      const { name, state, generation, code_version, behind, built, to_build } = item;
      const done = state === 'building' ? `${built} of ${to_build}` : '';
      const late = state === 'retired' ? '' : behind >= 100_000 ? '100000 or more' : String(behind);
      table.push([service, name, generation, code_version || 'none', state, late, done]);
      if (state === 'retired') continue;
      if (item.foreign)
        notes.push(
          `${service}/${name}: the database was restored from a dump. Cure: npm run events -- adopt --service ${service}`,
        );
      if (!store.names.includes(name))
        notes.push(
          `${service}/${name}: no code has it any more, and until it is forgotten nothing is condensed. Cure: npm run events -- forget ${name} --service ${service}`,
        );
    }
    for (const name of store.names)
      if (!store.items.some((item) => item.name === name))
        notes.push(`${service}/${name}: has not been built yet. Cure: look at the log of ${service}`);
  }
  const rows = table.length === 0 ? 'There is no read model yet.' : table.toString();
  return [rows, ...new Set(notes)].join('\n');
}

/** What happened to a thing, in order, with who and why; what was done to its history is told where it ends. */
export function historyText({ stream_id, type, events, condensings }: History): string {
  const what = events.map(({ version, at, type: name, data, meta }) => {
    const by = [
      meta.actor,
      meta.command && `by ${meta.command}`,
      meta.requestId && `request ${meta.requestId}`,
    ];
    const trace = meta.traceparent && `trace ${meta.traceparent.split('-')[1]}`;
    const who = [...by, trace].filter(Boolean).join(', ');
    return `${String(version).padStart(5)}  ${at}  ${name} ${JSON.stringify(data)}\n       ${who}`;
  });
  const changes = condensings.flatMap((one) => [
    `${one.condensed_at}  ${one.condensed_by} condensed ${one.from_version} to ${one.to_version}: ${one.reason}`,
    ...(one.restored_at === null
      ? []
      : [`${one.restored_at}  ${one.restored_by} restored them: ${one.restore_reason}`]),
  ]);
  return [`${type} ${stream_id}`, ...what, ...changes].join('\n');
}

export type PolicyOutcome = Omit<PolicyPage, 'next'>;

export function addPage(all: PolicyOutcome, page: PolicyOutcome): PolicyOutcome {
  const refused = { ...all.refused };
  for (const [code, { streams, example }] of Object.entries(page.refused)) {
    const known = refused[code];
    refused[code] = known ? { ...known, streams: known.streams + streams } : { streams, example };
  }
  return {
    condensed: all.condensed + page.condensed,
    events: all.events + page.events,
    open: all.open + page.open,
    refused,
  };
}

export function policyText({ condensed, events, open, refused }: PolicyOutcome): string {
  const lines = [`Condensed ${plural(condensed, 'stream')}, ${plural(events, 'event')}.`];
  if (open > 0) lines.push(`Left alone, as not closed: ${plural(open, 'stream')}.`);
  for (const [code, { streams, example }] of Object.entries(refused))
    lines.push(
      `Refused, ${code.replaceAll('_', ' ')}: ${plural(streams, 'stream')}, ${streams === 1 ? example : `such as ${example}`}.`,
    );
  return lines.join('\n');
}

export function plural(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
