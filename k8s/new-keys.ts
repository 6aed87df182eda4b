import { type External, externalSecret } from '../generator/topology.ts';
import type { InitContainers } from './new-passwords.ts';

type Row = Pick<External, 'name' | 'users' | 'secret' | 'simulatorPort'>;

const secretsFor = ({ name, users, secret }: Row): string[] =>
  secret.length > 0 ? users.map((user) => externalSecret(user, name)) : [];

/** Names of the Secrets for the APIs of others that a simulator stands in for: a real one has values of its own. */
export function secretsForSimulators(externals: Row[]): string[] {
  return externals.filter(({ simulatorPort }) => simulatorPort !== undefined).flatMap(secretsFor);
}

/**
 * What is still to be done where a Secret for an API of others was made, or made anew: who runs already keeps what it read at its
 * start, and a simulator with another key than its user refuses all that is asked of it. Lines for a person.
 * @param o.made names of the Secrets
 * @param o.isOutside whether the shop is to have backing services of somebody else, and then hardly a simulator
 * @param o.kubectl how it is called for the namespace
 */
export function keySteps(o: {
  made: string[];
  externals: Row[];
  deployments: InitContainers;
  isOutside: boolean;
  kubectl: string;
}): string[] {
  return o.externals.flatMap((external) => {
    const { name, users, simulatorPort } = external;
    const made = secretsFor(external).filter((secret) => o.made.includes(secret));
    if (made.length === 0) return [];
    const all = made.join(', ');
    const running = [name, ...users].filter((one) => one in o.deployments);
    const hasSimulator = simulatorPort !== undefined;
    const isSimulated = hasSimulator && (name in o.deployments || (running.length === 0 && !o.isOutside));
    const whoKnows = hasSimulator ? `no ${name} but the simulator knows` : `${name} does not know`;
    const again = `  ${o.kubectl} rollout restart ${running.map((one) => `deployment/${one}`).join(' ')}`;
    if (!isSimulated)
      return [
        `${all} has made-up values, which ${whoKnows}. Put its own there (docs/payments.md, "A real provider")${running.length > 0 ? ', then:' : '.'}`,
        ...(running.length > 0 ? [again] : []),
      ];
    return running.length === 0
      ? []
      : [`The pods do not know the new values of ${all} yet. To have them read:`, again];
  });
}
